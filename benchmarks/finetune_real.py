"""Fine-tuning for real: accuracy and time on 245 photographs of ants and bees, beside PyTorch's tutorial script.

`imgcls train --data DIR`, as a user types it (efficientnet-lite0, the recipe `finetune`), with `--freeze` too, and with
one part of the recipe changed at a time; `plain_finetune.py --has-val` trains the same network for the same epochs on
the same images. In turn, in processes of their own; accuracy is that of the last epoch on the 153 validation images,
which choose nothing.

    python benchmarks/finetune_real.py --data DIR       DIR holds train/ and val/; 5 seeds take some 20 minutes
    python benchmarks/finetune_real.py --data DIR --folds 3 --variants all freeze ten-times-the-rate

With `--folds`, the training images are cross-validated, and the others are not read: the recipe was chosen so.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import runs

NAME = "efficientnet-lite0"
# What each part of the recipe brings: it, changed.
VARIANTS: dict[str, tuple[str, ...]] = {
    "all": (),
    "freeze": ("--freeze",),
    "no-crops": ("--set", "augment.crop_scale=1.0"),
    "no-ema": ("--set", "train.ema_decay=0"),
    "no-head-first": ("--set", "finetune.head_epochs=0", "--set", "train.epochs=5"),
    "one-rate": ("--set", "finetune.body_lr_factor=1.0"),
    "three-times-the-rate": ("--set", "finetune.body_lr_factor=0.03"),
    "ten-times-the-rate": ("--set", "finetune.body_lr_factor=0.1"),
    "twice-the-epochs": ("--epochs", "25", "--set", "finetune.head_epochs=15"),
    "new-statistics": ("--set", "finetune.freeze_batch_norm=false"),
}
PLAIN = "plain"


def ours(data: Path, folder: Path, seed: int, options: tuple[str, ...]) -> dict[str, float]:
    """One run as a user starts it, with a cache of its own, so that it decodes anew."""
    command = [sys.executable, "-m", "imgcls", "train", "--data", str(data), "-q", "--seed", str(seed)]
    command += ["-o", str(folder / "run"), *options]
    started = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "IMGCLS_CACHE": str(folder / "cache")}
    )
    seconds = time.perf_counter() - started
    last = json.loads((folder / "run/result.json").read_text())["last"]
    return {"top1": last["top1"], "loss": last["loss"], "seconds": seconds}


def theirs(data: Path, seed: int) -> dict[str, float]:
    """The tutorial's script."""
    script = str(Path(__file__).with_name("plain_finetune.py"))
    command = [sys.executable, script, "--data", str(data), "--model", NAME, "--seed", str(seed), "--has-val"]
    started = time.perf_counter()
    printed = subprocess.run(
        [*command, "--epochs", "20", "--head-epochs", "15"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return {"top1": json.loads(printed.splitlines()[-1])["last_top1"], "seconds": time.perf_counter() - started}


def fold_of(train: Path, out: Path, *, fold: int, folds: int) -> Path:
    """Link the images of one fold as validation images and all others as training images, each class by itself."""
    for source in sorted(path for path in train.iterdir() if path.is_dir()):
        files = sorted(source.iterdir())
        # Neighbours in the alphabet may be photographs of the same animal.
        random.Random(7).shuffle(files)
        for index, path in enumerate(files):
            folder = out / ("val" if index % folds == fold else "train") / source.name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).symlink_to(path.resolve())
    return out


def measured(name: str, data: Path, keep: Path, seed: int) -> dict[str, float]:
    """One run; one that is kept is read instead."""
    kept = keep / f"{name}-seed{seed}.json"
    if not kept.exists():
        with tempfile.TemporaryDirectory() as temporary:
            found = theirs(data, seed) if name == PLAIN else ours(data, Path(temporary), seed, VARIANTS[name])
        keep.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found))
        print(f"  {name}, seed {seed}: {found['top1']:.2%}, {found['seconds']:.0f} s", flush=True)
    return dict(json.loads(kept.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--variants", nargs="+", choices=[*VARIANTS, PLAIN], default=["all", PLAIN, "freeze"])
    parser.add_argument("--folds", type=int, help="cross-validate the training images instead")
    parser.add_argument("--keep", type=Path, help="keep the figures here, and read those that are there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        keep = arguments.keep or Path(temporary) / "figures"
        data = dict.fromkeys(arguments.seeds, arguments.data)
        if arguments.folds:
            data = {
                fold: fold_of(arguments.data / "train", Path(temporary) / str(fold), fold=fold, folds=arguments.folds)
                for fold in range(arguments.folds)
            }
        found: dict[str, list[dict[str, float]]] = {name: [] for name in arguments.variants}
        for seed, folder in data.items():
            for name in arguments.variants:
                found[name].append(measured(name, folder, keep, seed))
    which = "folds" if arguments.folds else "seeds"
    print(f"{NAME}, {which} {', '.join(map(str, data))}; top-1 of the last epoch, whole-process seconds")
    for name, results in found.items():
        top1 = runs.spread([result["top1"] for result in results], ".2%")
        losses = [result["loss"] for result in results if "loss" in result]
        loss = f"loss {statistics.fmean(losses):.4f}, " if losses else ""
        print(f"{name}: {top1}, {loss}median {statistics.median(result['seconds'] for result in results):.0f} s")
    if "all" in found and PLAIN in found:
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(found[PLAIN], found["all"], strict=True)]
        print(f"the plain script takes {statistics.median(ratios):.2f} times as long as imgcls (median of pairs)")


if __name__ == "__main__":
    main()
