"""Training runs for the benchmarks: started as a user starts them, read from the files that they leave."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch

import imgcls

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@dataclass(frozen=True)
class Run:
    """One finished run: (training seconds so far, test accuracy) after every epoch."""

    seed: int
    curve: list[tuple[float, float]]

    @property
    def top1(self) -> float:
        """Test accuracy after the last epoch, not the best one on the way."""
        return self.curve[-1][1]

    @property
    def train_sec(self) -> float:
        """Of all epochs; loading and measuring don't count."""
        return self.curve[-1][0]

    def seconds_to(self, top1: float) -> float | None:
        """Training seconds until an epoch ends with at least that accuracy."""
        return next((seconds for seconds, reached in self.curve if reached >= top1), None)


def train(recipe: str, data: str, *, seed: int, keep: Path | None = None) -> Run:
    """Train from a recipe in `configs/`, in a process of its own.

    Args:
        recipe: a file in `configs/`.
        data: as `imgcls train --data` takes it.
        seed: of the run.
        keep: where runs are kept; one that is finished there is read instead of trained again.
    """
    with tempfile.TemporaryDirectory() as temporary:
        run = (keep or Path(temporary)) / f"{Path(recipe).stem}-seed{seed}"
        if not (run / "result.json").exists():
            command = [sys.executable, "-m", "imgcls", "train", "-c", str(CONFIGS / recipe), "--data", data, "-q"]
            command += ["--allow-modified-data", "--seed", str(seed), "-o", str(run)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds, curve = 0.0, []
    for row in rows:
        seconds += row["seconds"]
        curve.append((seconds, row["top1"]))
    return Run(seed, curve)


def spread(values: list[float], form: str) -> str:
    """`mean (smallest to largest)`."""
    return f"{statistics.fmean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def arguments(text: str) -> argparse.Namespace:
    """What both benchmarks of training take."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="keep the runs here, and read those that are finished")
    return parser.parse_args()


def heading(data: Path) -> str:
    """What was measured on what."""
    return (
        f"imgcls {imgcls.__version__}, torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{platform.machine()}; data: {describe(data)}"
    )


def describe(data: Path) -> str:
    """CIFAR-10 as published or re-encoded, by the checksums of its files."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_md5

    folder = data / "cifar-10-batches-py"
    published = all(check_md5(str(folder / name), md5) for name, md5 in (*CIFAR10.train_list, *CIFAR10.test_list))
    return "CIFAR-10" if published else "re-encoded CIFAR-10"
