"""Memory of `imgcls predict` against the number of inputs: the peak of each whole process.

    python benchmarks/memory.py [--model cifar10-cnn] [--files 100000] [--lines 1000000]

Small pictures, one file linked under many names: decoding costs little and every input is a file of its own. Linux and
macOS.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

MIB = 2**20
# What getrusage counts in.
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
LINKS_A_FILE = 30_000


def make_folder(folder: Path, count: int) -> Path:
    """`count` names for a few pictures."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        if number % LINKS_A_FILE == 0:
            original = folder / f"{number:07}.png"
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(original)
        else:
            os.link(original, folder / f"{number:07}.png")
    return folder


def peak_mib(*arguments: object) -> tuple[float, float, int]:
    """Peak resident memory of one run in MiB, its seconds and its exit code."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "imgcls", "predict", *map(str, arguments), "--device", "cpu", "-q"]
    )
    _, status, usage = os.wait4(process.pid, 0)
    return usage.ru_maxrss * RSS_UNIT / MIB, time.perf_counter() - started, os.waitstatus_to_exitcode(status)


def main() -> int:
    """Run it all and print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="cifar10-cnn")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    arguments = parser.parse_args()
    baseline = 0.0
    worst = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        few, many = make_folder(root / "few", 1000), make_folder(root / "many", arguments.files)
        repeated, missing = root / "repeated.txt", root / "missing.txt"
        names = sorted(few.iterdir())
        with repeated.open("w") as file:
            file.writelines(f"{names[number % len(names)]}\n" for number in range(arguments.lines))
        with missing.open("w") as file:
            file.writelines(f"{root}/nowhere/{number:08}.jpg\n" for number in range(arguments.lines))
        log = ["-m", arguments.model, "-f", "jsonl", "-o"]
        cases = [
            ("1,000 files of a folder", [few, *log, root / "few.jsonl"]),
            (f"{arguments.files:,} files of a folder", [many, *log, root / "many.jsonl"]),
            ("the same again with --resume", [many, *log, root / "many.jsonl", "--resume"]),
            (f"a list of {arguments.lines:,} lines", ["--files-from", repeated, *log, root / "list.jsonl"]),
            ("the same again with --resume", ["--files-from", repeated, *log, root / "list.jsonl", "--resume"]),
            (f"a list of {arguments.lines:,} missing files", ["--files-from", missing, *log, root / "none.jsonl"]),
        ]
        print(f"{'input':<40} {'peak MiB':>9} {'more than 1,000':>16} {'seconds':>8} {'exit':>5}")
        for name, command in cases:
            peak, seconds, code = peak_mib(*command)
            baseline = baseline or peak
            worst = max(worst, peak - baseline)
            print(f"{name:<40} {peak:>9.0f} {peak - baseline:>16.0f} {seconds:>8.0f} {code:>5}", flush=True)
        print(f"within 300 MiB of the peak for 1,000: {'yes' if worst <= 300 else 'NO'}")
    return 0 if worst <= 300 else 1


if __name__ == "__main__":
    sys.exit(main())
