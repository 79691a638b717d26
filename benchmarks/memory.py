"""Memory of `imgcls predict` against the number of inputs: the peak of each whole process.

    python benchmarks/memory.py [--files 100000] [--lines 1000000] [--model tiny]

What grows with the inputs is not the network, so a network of a few hundred weights is the default, which answers some
thousand images a second and core; `--model cifar10-cnn` is several times slower. Images are small, one file linked
under many names. Of a list's lines one in twenty names an image and the others nothing, so that each goes through
reader, decoding threads and writer, and a million of them take two minutes instead of half an hour. Before the last run
the output of a million images is put together from the records of the first thousand: byte for byte what such a run
leaves, and all of it is kept.

Linux and macOS; some five minutes on two cores.
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
# Of a list's lines so many lead nowhere for each that names an image.
LINES_AN_IMAGE = 20

# Made by a process of its own: what this one ever held would count as a child's peak, and PyTorch is large.
MAKE_TINY_MODEL = """
import sys
from pathlib import Path
from imgcls.models.checkpoint import Checkpoint, save_checkpoint
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
arguments = {"image_px": 8, "hidden": [4]}
weights = build_network("mlp", num_classes=3, arguments=arguments).state_dict()
save_checkpoint(Checkpoint("mlp", arguments, ("cat", "dog", "owl"), Transform(8, 8), weights), Path(sys.argv[1]))
"""


def make_folder(folder: Path, count: int) -> Path:
    """`count` names for a few images."""
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


def repeat_records(few: Path, output: Path, count: int) -> None:
    """Write what a run over a list that repeats the same images leaves: their records, again and again."""
    records = few.read_bytes().splitlines(keepends=True)
    with output.open("wb") as file:
        file.writelines(records[number % len(records)] for number in range(count))


def main() -> int:
    """Run it all and print the peaks."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="tiny", help="as imgcls takes it; tiny is made here")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    arguments = parser.parse_args()
    baseline = 0.0
    worst = 0.0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        few, many = make_folder(root / "few", 1000), make_folder(root / "many", arguments.files)
        names = sorted(few.iterdir())
        mixed, repeated = root / "mixed.txt", root / "repeated.txt"
        with mixed.open("w") as file:
            for number in range(arguments.lines):
                is_there = number % LINES_AN_IMAGE == 0
                name = names[number // LINES_AN_IMAGE % len(names)] if is_there else f"{root}/nowhere/{number:08}.jpg"
                file.write(f"{name}\n")
        with repeated.open("w") as file:
            file.writelines(f"{names[number % len(names)]}\n" for number in range(arguments.lines))
        model = arguments.model
        if model == "tiny":
            model = str(root / "tiny.pt")
            subprocess.run([sys.executable, "-c", MAKE_TINY_MODEL, model], check=True)
        log = ["-m", model, "-f", "jsonl", "-o"]
        lines = f"a list of {arguments.lines:,} lines"
        cases: list[tuple[str, list[object]]] = [
            ("1,000 files of a folder", [few, *log, root / "few.jsonl"]),
            (f"{arguments.files:,} files of a folder", [many, *log, root / "many.jsonl"]),
            ("the same again with --resume", [many, *log, root / "many.jsonl", "--resume"]),
            (f"{lines}, most lead nowhere", ["--files-from", mixed, *log, root / "mixed.jsonl"]),
            ("the same again with --resume", ["--files-from", mixed, *log, root / "mixed.jsonl", "--resume"]),
            (f"{lines}, all kept", ["--files-from", repeated, *log, root / "kept.jsonl", "--resume"]),
        ]
        print(f"{'input':<45} {'peak MiB':>9} {'more than 1,000':>16} {'seconds':>8} {'exit':>5}")
        for name, command in cases:
            if "all kept" in name:
                repeat_records(root / "few.jsonl", root / "kept.jsonl", arguments.lines)
            peak, seconds, code = peak_mib(*command)
            baseline = baseline or peak
            worst = max(worst, peak - baseline)
            print(f"{name:<45} {peak:>9.0f} {peak - baseline:>16.0f} {seconds:>8.0f} {code:>5}", flush=True)
        print(f"within 300 MiB of the peak for 1,000: {'yes' if worst <= 300 else 'NO'}")
    return 0 if worst <= 300 else 1


if __name__ == "__main__":
    sys.exit(main())
