"""Training runs for the benchmarks: started as a user starts them, read from the files that they leave."""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cifar10_files
import torch

import imgcls
from imgcls.datasets.readers import cifar10
from imgcls.recipes.loading import load_recipe

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        seed: of the run.
        curve: (training seconds so far, test accuracy) after every epoch.
        six_views_top1: test accuracy of six views of each image, where that was measured at the end.
    """

    seed: int
    curve: list[tuple[float, float]]
    six_views_top1: float | None = None

    @property
    def top1(self) -> float:
        """Test accuracy after the last epoch, not the best one on the way."""
        return self.curve[-1][1]

    @property
    def train_sec(self) -> float:
        """Of all epochs; loading and measuring don't count."""
        return self.curve[-1][0]

    def seconds_to(self, top1: float) -> float | None:
        """Training seconds until an epoch ends with at least that accuracy, in one plain view."""
        return next((seconds for seconds, reached in self.curve if reached >= top1), None)

    def seconds_to_with_views(self, top1: float) -> float | None:
        """The same, where the six views at the end count too."""
        at_the_end = self.six_views_top1 is not None and self.six_views_top1 >= top1
        return self.seconds_to(top1) or (self.train_sec if at_the_end else None)


def train(
    recipe: str,
    data: Path,
    *,
    seed: int,
    keep: Path | None = None,
    options: Sequence[str] = (),
    six_views: bool = False,
    processes: int = 1,
    threads: int | None = None,
) -> Run:
    """Train from a recipe in `configs/`, in a process of its own, or in several.

    Args:
        recipe: a file in `configs/`.
        data: as `imgcls train --data` takes it.
        seed: of the run.
        keep: where runs are kept; one that is finished there is read instead of trained again.
        options: more of `imgcls train`.
        six_views: measure with them too, at the end.
        processes: that torchrun starts, where there is more than one.
        threads: of each process; None for torch's own choice.
    """
    with tempfile.TemporaryDirectory() as temporary:
        run = (keep or Path(temporary)) / f"{Path(recipe).stem}-seed{seed}"
        if not (run / "result.json").exists():
            command = [sys.executable, *(_torchrun(processes) if processes > 1 else ())]
            command += ["-m", "imgcls", "train", "-c", str(CONFIGS / recipe), "--data", str(data), "-q"]
            command += ["--allow-modified-data", "--seed", str(seed), "-o", str(run), *options]
            environment = {**os.environ, **({"OMP_NUM_THREADS": str(threads)} if threads is not None else {})}
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        views_top1 = six_views_top1(run, data) if six_views else None
    seconds, curve = 0.0, []
    for row in rows:
        seconds += row["seconds"]
        curve.append((seconds, row["top1"]))
    return Run(seed, curve, views_top1)


def _torchrun(processes: int) -> list[str]:
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]


def six_views_top1(run: Path, data: Path) -> float:
    """Test accuracy of a run's network with the views that the published records count."""
    command = [sys.executable, "-m", "imgcls", "eval", str(run), "--data", str(data), "--tta", "flip+shift"]
    command += ["--allow-modified-data", "-q", "-f", "json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)["top1"]


def train_record(data: Path, *, seed: int, keep: Path | None = None, options: Sequence[str] = ()) -> Run:
    """Train with `record_recipe.py`, in a process of its own.

    Args:
        data: holds `cifar-10-batches-py`.
        seed: of the run.
        keep: where the lines that it prints are kept; a finished run is read instead of trained again.
        options: more of `record_recipe.py`.
    """
    kept = keep / f"record-seed{seed}.jsonl" if keep else None
    if kept is None or not kept.exists():
        script = Path(__file__).with_name("record_recipe.py")
        command = [sys.executable, str(script), "--data", str(data), "--seed", str(seed), *options]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(printed)
    else:
        printed = kept.read_text()
    *epochs, last = map(json.loads, printed.splitlines())
    return Run(seed, [(epoch["train_sec"], epoch["top1"]) for epoch in epochs], last["six_views_top1"])


def shortened(recipe: str, fraction: float) -> list[str]:
    """The option of `imgcls train` that runs only a part of the recipe's epochs; none for all of them."""
    epochs = load_recipe(CONFIGS / recipe).train.epochs
    return [] if fraction == 1 else ["--epochs", str(max(round(epochs * fraction), 1))]


def spread(values: list[float], form: str) -> str:
    """`mean (smallest to largest)`."""
    return f"{statistics.fmean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def parser(text: str) -> argparse.ArgumentParser:
    """What the benchmarks of training take."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds cifar-10-batches-py, or an archive of CIFAR-10")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="keep the runs here, and read those that are finished")
    parser.add_argument("--limit", type=int, help="training images at most, to try the script out")
    parser.add_argument("--epochs-fraction", type=float, default=1.0, help="of the epochs, to try the script out")
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, where they agree."""
    arguments = parser.parse_args()
    if arguments.keep and (arguments.limit or arguments.epochs_fraction != 1):
        parser.error("--keep is for whole runs: leave out --limit and --epochs-fraction")
    return arguments


def heading(data: Path) -> str:
    """What was measured on what."""
    return (
        f"imgcls {imgcls.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{platform.machine()}; data: {describe(data)}"
    )


def describe(data: Path) -> str:
    """CIFAR-10 as published or re-encoded, by the checksums of its files."""
    folder = cifar10_files.batches(data)
    names = (*cifar10.TRAIN_FILES, *cifar10.TEST_FILES)
    sums = {name: hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest() for name in names}
    return "CIFAR-10" if all(sums[name] == cifar10.MD5[name] for name in names) else "re-encoded CIFAR-10"
