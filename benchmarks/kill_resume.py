"""Nothing lost: `imgcls predict --resume` on a growing folder, killed with SIGKILL again and again.

Half of the images are there at the beginning, the others come in equal parts before each run, and a tenth changes its
time, so that there is always something to do and something to keep. Every run but the last is killed at a random moment
of the time that a whole one takes. The final file is compared, byte for byte, with that of a run
that nobody disturbed; nothing is left out, as records hold no time but that of their file.

    python benchmarks/kill_resume.py [--kills 50] [--images 2000] [--format jsonl] [--seed 0]

Prints the counts, and ends with 1 if a byte differs.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from imgcls.outputs.journal import part_path


def make_images(folder: Path, count: int) -> list[Path]:
    """Write images of 32 x 32, each another; a few in a hundred are damaged. Returned in a mixed order."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        path = folder / f"{number:05}.png"
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((32, 32), Image.Resampling.BICUBIC).save(path)
        if number % 40 == 7:
            path.write_bytes(path.read_bytes()[:100])
        paths.append(path)
    random.Random(0).shuffle(paths)
    return paths


def run(
    inbox: Path, output: Path, arguments: argparse.Namespace, *, kill_after_sec: float | None = None
) -> float | None:
    """Start one run; the seconds that it took, or None if it was killed."""
    command = [sys.executable, "-m", "imgcls", "predict", str(inbox), "-m", arguments.model, "-f", arguments.format]
    command += ["-o", str(output), "--resume", "--device", "cpu", "-q"]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    try:
        code = process.wait(kill_after_sec)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        code = process.wait()
    if code == -signal.SIGKILL:
        return None
    # 4: some images are damaged, as they should be.
    assert code in (0, 4), f"exit code {code}"
    return time.perf_counter() - started


def main() -> int:
    """Run it all and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--format", choices=("jsonl", "csv"), default="jsonl")
    parser.add_argument("--model", default="cifar10-cnn")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        inbox, outbox, output = folder / "in", folder / "later", folder / f"results.{arguments.format}"
        images = make_images(inbox, arguments.images)
        outbox.mkdir()
        coming = [path.rename(outbox / path.name) for path in images[len(images) // 2 :]]
        whole_sec = run(inbox, folder / "timed", arguments)
        assert whole_sec is not None
        print(f"{len(images):,} images, half of them at the beginning; one run over that half: {whole_sec:.1f} s")

        moments: list[float] = []
        num_through = num_parts = num_torn = 0
        while len(moments) < arguments.kills:
            # Some come, some change: every run has something to do, and something to keep.
            for _ in range(-(-len(coming) // (arguments.kills - len(moments)))):
                path = coming.pop()
                path.rename(inbox / path.name)
            for path in rng.sample(sorted(inbox.iterdir()), len(images) // 10):
                os.utime(path)
            moment = rng.uniform(0, whole_sec)
            if run(inbox, output, arguments, kill_after_sec=moment) is not None:
                num_through += 1
                continue
            moments.append(moment)
            part = part_path(output)
            left = part.read_bytes() if part.exists() else b""
            num_parts += left.count(b"\n") > (arguments.format == "csv")
            num_torn += left != b"" and not left.endswith(b"\n")
        run(inbox, output, arguments)
        undisturbed = folder / f"undisturbed.{arguments.format}"
        run(inbox, undisturbed, arguments)
        is_same = output.read_bytes() == undisturbed.read_bytes()
        note = json.loads((folder / "results.jsonl.run.json").read_text())
        num_lines = output.read_bytes().count(b"\n")
        print(f"{len(moments)} runs killed, {min(moments):.2f} to {max(moments):.2f} s after their start ", end="")
        print(f"(median {statistics.median(moments):.2f} s); {num_through} more were through before their moment came")
        print(f"what the kills left: {num_parts} times the records of a run in its middle, {num_torn} torn last lines")
        print(f"the run after them: {note['counts']}")
        print(f"records: {num_lines:,}; a part is left: {part_path(output).exists()}")
        print(f"final file equals that of an undisturbed run, byte for byte: {'yes' if is_same else 'NO'}")
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main())
