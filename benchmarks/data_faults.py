"""`imgcls check` on CIFAR-10 with planted faults: how many of them it finds, and how much of what it reports is real.

Of 5,000 images, a fifth in val, 5 % get a wrong label: any other class (uniform), or of cats and dogs the other one
(asymmetric, 20 % of the two). As many as 2 % of all are copied from train into val as they are, as the file or as a PNG
of its pixels, and 2 % changed: rescaled to 20, 24, 48 or 64 px, encoded anew at quality 30 to 60, moved by 1 to 3 px in
both directions, or flipped. Beside it, in the same run: cleanlab's defaults on the probabilities of the first fit, and
imagehash alone (pairs between the splits whose perceptual hashes differ in at most 4 bits of 64). CIFAR-10 has near
copies of its own: pairs between the splits that nobody planted are counted, and named with --show, to be looked at.

    python benchmarks/data_faults.py --data cifar10/train --seeds 0 1 2

--data is a folder of CIFAR-10's classes.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import imagehash
import numpy as np
import torch
from cleanlab.filter import find_label_issues
from PIL import Image

from imgcls.datasets.checks.copies import copies, exact_pairs, near_pairs
from imgcls.datasets.checks.discriminant import out_of_fold
from imgcls.datasets.checks.labels import suspected_labels
from imgcls.datasets.checks.scan import Scan, scan_images
from imgcls.datasets.resolving import SPLITS, resolve
from imgcls.evaluation.frozen_features import load_frozen_features

CHANGES = ("rescaled", "re-encoded", "shifted", "flipped")
WRONG, COPIED, VAL = 0.05, 0.02, 0.2
HASH_BITS = 4
SHIFT_PX = 3


@dataclass
class Planted:
    """What was put into the data set.

    Attributes:
        wrong: images with a wrong label, and their true class.
        exact: copies, each with its original.
        near: changed copies, each with its original and the change.
    """

    wrong: dict[str, str] = field(default_factory=dict)
    exact: set[frozenset[str]] = field(default_factory=set)
    near: dict[frozenset[str], str] = field(default_factory=dict)


def changed(image: Image.Image, change: str, random: np.random.Generator) -> Image.Image:
    """A copy as somebody's tool would make it; `re-encoded` is left to the writer."""
    if change == "rescaled":
        side = int(random.choice([20, 24, 48, 64]))
        return image.resize((side, side), Image.Resampling.BICUBIC)
    if change == "shifted":
        down, right = (int(random.choice([-3, -2, -1, 1, 2, 3])) for _ in range(2))
        pixels = np.pad(np.asarray(image), ((SHIFT_PX, SHIFT_PX), (SHIFT_PX, SHIFT_PX), (0, 0)), mode="edge")
        top, left = SHIFT_PX + down, SHIFT_PX + right
        return Image.fromarray(pixels[top : top + image.height, left : left + image.width])
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if change == "flipped" else image


def plant(data: Path, out: Path, *, noise: str, seed: int, count: int) -> Planted:
    """Write the data set."""
    random, planted = np.random.default_rng(seed), Planted()
    classes = sorted(path.name for path in data.iterdir())
    images: list[tuple[Path, str, str]] = []
    for name in classes:
        files = sorted((data / name).iterdir())
        chosen = random.choice(len(files), count // len(classes), replace=False)
        images += [(files[i], name, "val" if n < VAL * len(chosen) else "train") for n, i in enumerate(chosen)]
    pair = {"cat": "dog", "dog": "cat"}
    pool = [i for i, (_, name, _) in enumerate(images) if noise == "uniform" or name in pair]
    num_wrong = round(len(images) * WRONG) if noise == "uniform" else len(pool) // 5
    wrong = set(random.choice(pool, num_wrong, replace=False).tolist())
    written: list[Path] = []
    for index, (file, name, split) in enumerate(images):
        label = name
        if index in wrong:
            label = str(random.choice([c for c in classes if c != name])) if noise == "uniform" else pair[name]
        path = out / split / label / f"{index:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, path)
        written.append(path)
        if index in wrong:
            planted.wrong[str(path)] = name
    originals = [i for i, (_, _, split) in enumerate(images) if split == "train" and i not in wrong]
    num_copies = round(len(images) * COPIED)
    for position, index in enumerate(random.choice(originals, 2 * num_copies, replace=False).tolist()):
        file, name, _split = images[index]
        target = out / "val" / name / f"copy-{index:06d}.png"
        with Image.open(file) as opened:
            image = opened.convert("RGB")
        if position < num_copies:
            target = target.with_suffix((".png", ".jpg")[position % 2])
            image.save(target) if position % 2 == 0 else shutil.copy(file, target)
            planted.exact.add(frozenset((str(target), str(written[index]))))
            continue
        change = CHANGES[position % len(CHANGES)]
        if change == "re-encoded":
            target = target.with_suffix(".jpg")
            image.save(target, quality=int(random.integers(30, 61)))
        else:
            changed(image, change, random).save(target)
        planted.near[frozenset((str(target), str(written[index])))] = change
    return planted


def rates(found: set[str], truth: set[str]) -> str:
    """Precision and recall."""
    hits = len(found & truth)
    return f"precision {hits / max(len(found), 1):.1%}, recall {hits / max(len(truth), 1):.1%}, {len(found):,} reported"


def measure_labels(scan: Scan, planted: Planted) -> None:
    """The finder of wrong labels, and cleanlab's defaults."""
    truth = set(planted.wrong)
    exact = frozenset(second for _first, second in exact_pairs(scan))
    started = time.perf_counter()
    found = list(suspected_labels(scan, seed=0, exclude=exact))
    seconds = time.perf_counter() - started
    print(f"  labels, imgcls: {rates({each.input for each in found}, truth)}, {seconds:.1f} s")
    right = sum(planted.wrong.get(each.input) == each.suggested_label for each in found if each.input in truth)
    print(f"    of the real ones {right / max(sum(each.input in truth for each in found), 1):.1%} with the true class")
    hits = np.cumsum([each.input in truth for each in found])
    for recall in (0.5, 0.8):
        place = int(np.searchsorted(hits, recall * len(truth)))
        if place < len(hits):
            print(f"    the first {place + 1:,} hold {recall:.0%} of all: precision {hits[place] / (place + 1):.1%}")
    probabilities_NK = out_of_fold(scan.features_NF, scan.labels_N, seed=0)
    default = find_label_issues(scan.labels_N, probabilities_NK, n_jobs=1)
    names = {place.name for place, is_issue in zip(scan.places, default, strict=True) if is_issue}
    true_N = [scan.classes.index(planted.wrong.get(p.name, scan.classes[p.label])) for p in scan.places]
    print(f"  the head is right on {(probabilities_NK.argmax(1) == np.array(true_N)).mean():.1%} (out of fold)")
    print(f"  labels, cleanlab's defaults: {rates(names, truth)}")


def measure_copies(scan: Scan, planted: Planted, *, show: bool) -> None:
    """The finder of leaks, and perceptual hashes alone."""
    started = time.perf_counter()
    exact = exact_pairs(scan)
    leaks = [each for each in copies(scan, exact, near_pairs(scan, exact)) if each.kind == "leakage"]
    print_leaks("imgcls", {frozenset((each.input, each.other or "")) for each in leaks}, planted, started, show=show)
    started = time.perf_counter()
    hashes = np.stack([imagehash.phash(Image.fromarray(look.thumbnail)).hash.ravel() for look in scan.looks])
    signs = np.where(hashes, 1, -1).astype(np.float32)
    train, val = ([i for i, p in enumerate(scan.places) if (p.split == "train") == is_train] for is_train in (1, 0))
    close = np.argwhere(signs[val] @ signs[train].T >= signs.shape[1] - 2 * HASH_BITS)
    pairs = {frozenset((scan.places[val[a]].name, scan.places[train[b]].name)) for a, b in close.tolist()}
    print_leaks("imagehash alone", pairs, planted, started)


def print_leaks(name: str, found: set[frozenset[str]], planted: Planted, started: float, *, show: bool = False) -> None:
    """Recall of each kind, and how many pairs nobody planted."""
    seconds = time.perf_counter() - started
    kinds = Counter(planted.near.values())
    by_change = ", ".join(
        f"{change} {sum(planted.near[pair] == change for pair in found & set(planted.near))}/{kinds[change]}"
        for change in CHANGES
    )
    others = found - planted.exact - set(planted.near)
    print(
        f"  leaks, {name}: exact {len(found & planted.exact)}/{len(planted.exact)}, near "
        f"{len(found & set(planted.near))}/{len(planted.near)} ({by_change}), {len(others)} of {len(found)} pairs not "
        f"planted, {seconds:.1f} s"
    )
    for pair in sorted(map(sorted, others)) if show else ():
        print("    not planted:", *pair)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--noise", nargs="+", choices=["uniform", "asymmetric"], default=["uniform", "asymmetric"])
    parser.add_argument("--show", action="store_true", help="name the pairs that nobody planted")
    parser.add_argument("--keep", type=Path, help="write the data sets here, and leave them")
    arguments = parser.parse_args()
    embed = load_frozen_features(torch.device("cpu"))
    if embed is None:
        raise SystemExit("the weights of efficientnet-lite0 are not installed")
    per_image: list[float] = []
    for noise in arguments.noise:
        for seed in arguments.seeds:
            with tempfile.TemporaryDirectory() as temporary:
                root = (arguments.keep or Path(temporary)) / f"{noise}-{seed}"
                planted = plant(arguments.data, root, noise=noise, seed=seed, count=arguments.count)
                started = time.perf_counter()
                scan = scan_images(resolve(str(root), splits=SPLITS), embed=embed, workers=2)
                seconds = time.perf_counter() - started
                per_image.append(seconds / len(scan.places))
                print(f"{noise}, seed {seed}: {len(scan.places):,} images looked at in {seconds:.0f} s", flush=True)
                measure_labels(scan, planted)
                measure_copies(scan, planted, show=arguments.show)
    print(f"looking at 50,000 such images would take {50_000 * statistics.median(per_image) / 60:.1f} min")


if __name__ == "__main__":
    main()
