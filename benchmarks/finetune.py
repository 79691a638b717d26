"""Whole-process seconds of fine-tuning on 200 photographs in 5 classes, beside the usual script, in turn.

`configs/finetune.toml` with each network, and with --freeze the head alone; `plain_finetune.py` does as many epochs of
the same batches. The photographs are CIFAR-10's enlarged to 1600 x 1200 with some grain, some 600 kB of JPEG each; the
weights are random, since published ones cost the same and may not be here. Every imgcls run decodes anew.

    python benchmarks/finetune.py --data DIR       DIR holds cifar-10-batches-py; about 40 minutes on two cores
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cifar10_files
import numpy as np
import runs
import torch
from PIL import Image
from torchvision import models

CLASSES = ("airplane", "automobile", "bird", "cat", "deer")
SIZE_PX = (1600, 1200)
# --freeze trains as many epochs as the recipe.
MODES = {"head, then all": (15, ()), "--freeze": (20, ("--freeze",))}


def write_photographs(data: Path, folder: Path, *, per_class: int) -> float:
    """A folder a class; returns the mean size of a file in kB."""
    cifar = cifar10_files.load(data)
    grain = np.random.default_rng(0)
    sizes = []
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number, row in enumerate(torch.nonzero(cifar.train_labels_N == label).flatten()[:per_class].tolist()):
            small = Image.fromarray(cifar.train_NCHW[row].permute(1, 2, 0).numpy())
            pixels = np.asarray(small.resize(SIZE_PX, Image.Resampling.BICUBIC), dtype=np.int16)
            pixels = pixels + grain.normal(0, 6, pixels.shape).astype(np.int16)
            path = folder / name / f"{number:03}.jpg"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=88)
            sizes.append(path.stat().st_size)
    return statistics.fmean(sizes) / 1000


def seconds_of(command: list[str], environment: dict[str, str]) -> float:
    """Of a whole process, from nothing."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50", "alexnet"])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-class", type=int, default=40)
    parser.add_argument("--without-baseline", action="store_true")
    arguments = parser.parse_args()
    print(runs.heading(arguments.data))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        photos = work / "photos"
        mean_kb = write_photographs(arguments.data, photos, per_class=arguments.per_class)
        count = len(CLASSES) * arguments.per_class
        print(f"{count} photographs of {SIZE_PX[0]} x {SIZE_PX[1]}, {mean_kb:.0f} kB each (mean)", flush=True)
        for name in arguments.models:
            weights = work / f"{name}.pth"
            torch.save(models.get_model(name, weights=None).state_dict(), weights)
            for mode in arguments.modes:
                compare(name, mode, weights, photos, work, arguments)


def compare(name: str, mode: str, weights: Path, photos: Path, work: Path, arguments: argparse.Namespace) -> None:
    """Run both in turn, and print the medians."""
    head_epochs, options = MODES[mode]
    ours, theirs = [], []
    for number in range(arguments.rounds):
        run = work / f"{name}-{head_epochs}-{number}"
        command = [sys.executable, "-m", "imgcls", "train", "-c", str(runs.CONFIGS / "finetune.toml"), "-m", name]
        command += ["--weights", str(weights), "--data", str(photos), "-q", "-o", str(run), *options]
        # A cache of its own: the second run on the same images wouldn't decode them any more.
        ours.append(seconds_of(command, {**os.environ, "IMGCLS_CACHE": str(run) + "-cache"}))
        if not arguments.without_baseline:
            script = str(Path(__file__).with_name("plain_finetune.py"))
            plain = [sys.executable, script, "--data", str(photos), "--model", name, "--weights", str(weights)]
            theirs.append(seconds_of([*plain, "--head-epochs", str(head_epochs)], dict(os.environ)))
    line = f"{name}, {mode}: imgcls {statistics.median(ours):.1f} s ({min(ours):.1f} to {max(ours):.1f})"
    if theirs:
        line += f", plain script {statistics.median(theirs):.1f} s ({min(theirs):.1f} to {max(theirs):.1f})"
        line += f", ratio {statistics.median(theirs) / statistics.median(ours):.1f}"
    print(line, flush=True)


if __name__ == "__main__":
    main()
