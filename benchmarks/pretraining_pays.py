"""Where pretraining pays: efficientnet-lite0 on few images a class of CIFAR-10, beside `cnn.toml` from scratch.

The same training images for all three: the head alone (`--freeze`), the head first and then all layers (what
`imgcls train --data DIR` does), both at 96 px, and `cnn.toml` at 32 px from random weights, with more epochs and
smaller batches than it has for all of CIFAR-10. Nothing is chosen by validation: each run keeps its last epoch, and is
measured once on the same test images.

    python benchmarks/pretraining_pays.py --data DIR       DIR holds train/<class>/ and test/<class>/; 20 minutes
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import runs

PRETRAINED = ("--set", "data.image_px=96", "--set", "data.resize_px=96", "--set", "data.val_fraction=0")
WAYS: dict[str, tuple[str, ...]] = {
    "head alone": ("--freeze", *PRETRAINED),
    "all layers": PRETRAINED,
    "all layers, ten times the rate": (*PRETRAINED, "--set", "finetune.body_lr_factor=0.1"),
    "cnn.toml from scratch": (
        *("-c", str(runs.CONFIGS / "cnn.toml"), "--set", "data.image_px=32", "--set", "data.val_fraction=0"),
        *("--epochs", "100", "--batch-size", "50"),
    ),
}


def choose(folder: Path, out: Path, *, per_class: int, seed: int) -> int:
    """Link so many images of each class; the same ones whenever it is called; returns how many there are."""
    count = 0
    for source in sorted(path for path in folder.iterdir() if path.is_dir()):
        (out / source.name).mkdir(parents=True)
        files = sorted(source.iterdir())
        random.Random(seed).shuffle(files)
        for path in files[:per_class]:
            (out / source.name / path.name).symlink_to(path.resolve())
            count += 1
    return count


def imgcls(*arguments: str | Path) -> dict[str, object]:
    """What a command answers in JSON."""
    command = [sys.executable, "-m", "imgcls", *map(str, arguments), "-q", "-f", "json"]
    return dict(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))


def measured(way: str, data: Path, test: Path, run: Path, *, seed: int) -> dict[str, float]:
    """Train one way, and measure what came of it."""
    started = time.perf_counter()
    imgcls("train", "--data", data, "-o", run, "--seed", str(seed), *WAYS[way])
    seconds = time.perf_counter() - started
    return {"top1": float(str(imgcls("eval", run, "--data", test)["top1"])), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--per-class", type=int, nargs="+", default=[10, 50, 500])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--keep", type=Path, help="keep the figures here, and read those that are there")
    parser.add_argument("--test-per-class", type=int, default=100, help="of the 1,000 that CIFAR-10 has")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        keep = arguments.keep or work / "figures"
        keep.mkdir(parents=True, exist_ok=True)
        num_test = choose(arguments.data / "test", work / "test", per_class=arguments.test_per_class, seed=0)
        print(f"re-encoded CIFAR-10, {num_test} test images, seeds 0 to {arguments.seeds - 1}", flush=True)
        for per_class in arguments.per_class:
            for way in arguments.ways:
                found = []
                for seed in range(arguments.seeds):
                    name = f"{per_class}-{way.replace(' ', '-')}-{seed}-of-{num_test}"
                    data, kept = work / f"{per_class}-{seed}", keep / f"{name}.json"
                    if not data.exists():
                        choose(arguments.data / "train", data, per_class=per_class, seed=seed)
                    if not kept.exists():
                        kept.write_text(json.dumps(measured(way, data, work / "test", work / name, seed=seed)))
                    found.append(json.loads(kept.read_text()))
                print(
                    f"{per_class} images a class, {way}: {runs.spread([each['top1'] for each in found], '.2%')}, "
                    f"{runs.spread([each['seconds'] for each in found], '.0f')} s to train",
                    flush=True,
                )


if __name__ == "__main__":
    main()
