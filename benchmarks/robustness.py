"""Does one odd file ever stop, shift or hide another, cost the machine its memory, or start a program?

Classifies all files of a folder in four ways (sorted, reversed, shuffled, and a sample of them alone) and reports for
each: records (one an input), their order, the peak of memory, bytes on stderr, processes started, seconds, exit code.
Every record must be the same each time. Ends with 1 where anything is not as promised.

    python benchmarks/robustness.py DIR
    python benchmarks/robustness.py --draw DIR      first makes a folder of 200 odd files
"""

import argparse
import collections
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from odd_files import draw_odd_files

# Whoever decodes hundreds of torn or huge files in the memory of a small machine.
MAX_PEAK_MIB = 3000
# What a person reads; a decoder's own lines run into megabytes.
MAX_NOISE_BYTES = 20_000
POLL_SEC = 0.02
TOLERANCE = 1e-6


# PyTorch's Triton asks it where libcuda is when it is imported, before any file is opened.
SYSTEM_QUERIES = ("ldconfig",)


@dataclass
class Outcome:
    """One run of `imgcls predict`.

    Attributes:
        records: values of each, in their order.
        code: exit code.
        peak_mib: of the process.
        noise_bytes: on stderr.
        children: command lines of processes that it started, beside its own decoding workers.
        seconds: from start to end.
    """

    records: list[dict[str, object]]
    code: int
    peak_mib: float
    noise_bytes: int
    children: set[str]
    seconds: float


def classify(files: list[Path], model: str, folder: Path) -> Outcome:
    """Classify files in this order, watching the process."""
    names = folder / "names"
    names.write_bytes(b"".join(os.fsencode(file) + b"\0" for file in files))
    command = [sys.executable, "-m", "imgcls", "predict", "-m", model, "-f", "jsonl", "-0", "--files-from", str(names)]
    started = time.perf_counter()
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        children: set[str] = set()
        peak_kib = 0
        while process.poll() is None:
            children |= programs_below(process.pid)
            peak_kib = max(peak_kib, peak_of(process.pid))
            time.sleep(POLL_SEC)
    lines = (folder / "out").read_bytes().splitlines()
    return Outcome(
        records=[json.loads(line) for line in lines],
        code=process.returncode,
        peak_mib=peak_kib / 1024,
        noise_bytes=(folder / "err").stat().st_size,
        children=children,
        seconds=time.perf_counter() - started,
    )


def peak_of(pid: int) -> int:
    """Peak of resident memory in KiB; 0 where the system doesn't tell."""
    try:
        words = Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()
        return int(words[0])
    except (OSError, IndexError, ValueError):
        return 0


def programs_below(pid: int) -> set[str]:
    """Command lines of the processes below one, but for Python's own workers."""
    found: set[str] = set()
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        for task in tasks:
            for child in (task / "children").read_text().split():
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                # A moment after its fork a child still has its parent's words; one that has ended has its name only.
                name = Path(f"/proc/{child}/comm").read_text().strip()
                if not name.startswith("python") and name not in SYSTEM_QUERIES:
                    found.add(os.fsdecode(b" ".join(words)).strip()[:100] or name)
                found |= programs_below(int(child))
    except OSError:
        pass
    return found


def same(first: object, second: object) -> bool:
    """Whether two records agree, probabilities to what is promised whatever shares a batch."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float) and isinstance(second, float):
        return abs(first - second) <= TOLERANCE
    return first == second


def faults_of(outcome: Outcome, files: list[Path], alone: dict[str, dict[str, object]]) -> list[str]:
    """What isn't as promised."""
    faults = []
    if len(outcome.records) != len(files):
        faults.append(f"{len(outcome.records)} records of {len(files)} inputs")
    elif [record["input"] for record in outcome.records] != [os.fsdecode(file) for file in files]:
        faults.append("records out of order")
    differing = [r["input"] for r in outcome.records if not same(alone.get(str(r["input"]), r), r)]
    if differing:
        faults.append(f"{len(differing)} records differ, such as {differing[0]!a}")
    if outcome.code not in (0, 4):
        faults.append(f"exit code {outcome.code}")
    if outcome.peak_mib > MAX_PEAK_MIB:
        faults.append(f"more than {MAX_PEAK_MIB} MiB")
    if outcome.noise_bytes > MAX_NOISE_BYTES:
        faults.append(f"more than {MAX_NOISE_BYTES:,} bytes on stderr")
    return faults + [f"started {child}" for child in sorted(outcome.children)]


def main() -> int:
    """Run all four orders and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draw", action="store_true", help="fill the folder with odd files first")
    parser.add_argument("--count", type=int, default=200, help="how many to draw")
    parser.add_argument("--model", default="cifar10-cnn")
    parser.add_argument("--alone", type=int, default=8, help="how many files are classified alone")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.draw:
        draw_odd_files(args.folder, count=args.count, seed=args.seed)
    files = sorted(path for path in args.folder.rglob("*") if path.is_file())
    if not files:
        parser.error(f"{args.folder} holds no files")
    generator = random.Random(args.seed)
    orders = {"sorted": files, "reversed": files[::-1], "shuffled": generator.sample(files, len(files))}
    sample = generator.sample(files, min(args.alone, len(files)))
    reference: dict[str, dict[str, object]] = {}
    print(f"{'order':10} {'inputs':>6} {'records':>7} {'ok':>5} {'MiB':>6} {'stderr':>7} {'programs':>8} {'s':>6} code")
    all_faults = []
    with tempfile.TemporaryDirectory() as work:
        runs = list(orders.items()) + [("alone", [file]) for file in sample]
        for name, order in runs:
            outcome = classify(order, args.model, Path(work))
            num_ok = sum(record["status"] == "ok" for record in outcome.records)
            print(
                f"{name:10} {len(order):6} {len(outcome.records):7} {num_ok:5} {outcome.peak_mib:6.0f} "
                f"{outcome.noise_bytes:7} {len(outcome.children):8} {outcome.seconds:6.1f} {outcome.code:4}"
            )
            all_faults += [f"{name}: {fault}" for fault in faults_of(outcome, order, reference)]
            if not reference:
                reference = {str(record["input"]): record for record in outcome.records}
    kinds = collections.Counter(
        record["error"]["kind"] if isinstance(record.get("error"), dict) else "ok"  # type: ignore[index]
        for record in reference.values()
    )
    print(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    for fault in all_faults:
        print(f"FAULT {fault}")
    print("all as promised" if not all_faults else f"{len(all_faults)} faults")
    return 1 if all_faults else 0


if __name__ == "__main__":
    sys.exit(main())
