"""The MLP of `configs/mlp.toml` against the usual tutorial's loop: seconds of training to 53 % test accuracy.

Both train 3072-512-512-10 with ReLU, in turn, in one run, on the same files. imgcls runs with several seeds.

    python benchmarks/mlp.py --data DIR       DIR holds cifar-10-batches-py; about 10 minutes on two cores
"""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import runs

TARGET = 0.53


def main() -> None:
    arguments = runs.arguments(__doc__ or "")
    print(runs.heading(arguments.data))
    ours = []
    for seed in range(arguments.seeds):
        ours.append(run := runs.train("mlp.toml", str(arguments.data), seed=seed, keep=arguments.keep))
        reached = run.seconds_to(TARGET)
        print(
            f"imgcls seed {seed}: {run.top1:.2%} after {run.train_sec:.1f} s of training; "
            f"{TARGET:.0%} after {'never' if reached is None else f'{reached:.1f} s'}",
            flush=True,
        )
    script = Path(__file__).with_name("tutorial_loop.py")
    command = [sys.executable, str(script), "--data", str(arguments.data), "--target", str(TARGET)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    *_, last = map(json.loads, output.splitlines())
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
