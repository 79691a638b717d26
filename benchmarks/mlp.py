"""The MLP of `configs/mlp.toml` against the usual tutorial's loop: seconds of training to 53 % test accuracy.

Both train 3072-512-512-10 with ReLU, in turn, in one run, on the same files. imgcls runs with several seeds.

    python benchmarks/mlp.py --data DIR       DIR holds cifar-10-batches-py; about 10 minutes on two cores
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import cifar10_files
import runs

TARGET = 0.53


def main() -> None:
    arguments = runs.parsed(runs.parser(__doc__ or ""))
    with cifar10_files.opened(arguments.data, limit=arguments.limit) as data:
        compare(arguments, data)


def compare(arguments: argparse.Namespace, data: Path) -> None:
    """imgcls with every seed, then the tutorial's loop."""
    print(runs.heading(data))
    ours = []
    options = runs.shortened("mlp.toml", arguments.epochs_fraction)
    for seed in range(arguments.seeds):
        ours.append(run := runs.train("mlp.toml", data, seed=seed, keep=arguments.keep, options=options))
        reached = run.seconds_to(TARGET)
        print(
            f"imgcls seed {seed}: {run.top1:.2%} after {run.train_sec:.1f} s of training; "
            f"{TARGET:.0%} {'never' if reached is None else f'after {reached:.1f} s'}",
            flush=True,
        )
    script = Path(__file__).with_name("tutorial_loop.py")
    command = [sys.executable, str(script), "--data", str(data), "--target", str(TARGET)]
    command += ["--max-epochs", str(max(round(12 * arguments.epochs_fraction), 1))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines()]
    if not lines:
        print("the tutorial's loop ended before its first measurement")
        return
    last = lines[-1]
    print(f"tutorial loop: {last['top1']:.2%} after {last['train_sec']:.1f} s of training ({last['step']:,} steps)")
    times = [run.seconds_to(TARGET) for run in ours]
    print(f"final test accuracy: {runs.spread([run.top1 for run in ours], '.2%')} over {len(ours)} seeds")
    if last["top1"] < TARGET or None in times:
        print(f"{TARGET:.0%} was not reached by both")
        return
    reached_sec = [seconds for seconds in times if seconds is not None]
    median = statistics.median(reached_sec)
    print(f"seconds to {TARGET:.0%}: imgcls {median:.1f} (median), tutorial loop {last['train_sec']:.1f}")
    print(f"ratio: {last['train_sec'] / median:.1f} times sooner")


if __name__ == "__main__":
    main()
