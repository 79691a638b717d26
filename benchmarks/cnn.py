"""The CNN of `configs/cnn.toml` on two CPU cores: test accuracy and seconds of training, over several seeds.

With --against-record, the published 8-epoch speed-record recipe (`record_recipe.py`) runs in turn on the same files.
imgcls is measured by one plain forward pass, and the accuracy is that after the last epoch, not the best on the way.
The record's recipe is measured so too; at its end also with the six views of each test picture that its authors count,
and where those reach a mark it counts as reached, without the seconds that they take.

Seconds are those of training steps with their batches and augmentation, for both: loading, whitening and measuring are
left out.

    python benchmarks/cnn.py --data DIR                     about 6 minutes a seed on two cores
    python benchmarks/cnn.py --data DIR --against-record    about 16 minutes a seed

DIR holds cifar-10-batches-py.
"""

import argparse
import statistics
from pathlib import Path

import cifar10_files
import runs

MARKS = (0.85, 0.88, 0.90)


def main() -> None:
    parser = runs.parser(__doc__ or "")
    parser.add_argument("--recipe", default="cnn.toml", help="a file in configs/")
    parser.add_argument("--against-record", action="store_true", help="run the published record's recipe in turn")
    arguments = runs.parsed(parser)
    with cifar10_files.opened(arguments.data, limit=arguments.limit) as data:
        compare(arguments, data)


def compare(arguments: argparse.Namespace, data: Path) -> None:
    """Train with every seed in turn, then print what it came to."""
    print(runs.heading(data))
    ours, records = [], []
    options = runs.shortened(arguments.recipe, arguments.epochs_fraction)
    for seed in range(arguments.seeds):
        ours.append(run := runs.train(arguments.recipe, data, seed=seed, keep=arguments.keep, options=options))
        print(f"seed {seed}, imgcls: {run.top1:.2%} after {run.train_sec:.0f} s of training", flush=True)
        if arguments.against_record:
            fraction = ["--epochs-fraction", str(arguments.epochs_fraction)]
            records.append(run := runs.train_record(data, seed=seed, keep=arguments.keep, options=fraction))
            print(
                f"seed {seed}, record: {run.top1:.2%} after {run.train_sec:.0f} s of training, "
                f"{run.six_views_top1:.2%} with six views",
                flush=True,
            )
    print(f"imgcls, {arguments.recipe}:")
    describe(ours)
    for mark in MARKS:
        print(f"  to {mark:.0%}: {reached(ours, mark)}")
    if not records:
        return
    print("the record's recipe:")
    describe(records)
    six_views = [run.six_views_top1 for run in records if run.six_views_top1 is not None]
    print(f"  with six views: {runs.spread(six_views, '.2%')}")
    for mark in MARKS:
        print(f"  to {mark:.0%}: {reached(records, mark)}")
        if (ratio := sooner(ours, records, mark)) is not None:
            print(f"    imgcls gets there {ratio:.2f} times as fast")


def describe(trained: list[runs.Run]) -> None:
    """Accuracy and seconds of all seeds."""
    print(f"  test accuracy: {runs.spread([run.top1 for run in trained], '.2%')} over {len(trained)} seeds")
    print(f"  training seconds: {runs.spread([run.train_sec for run in trained], '.0f')}")


def reached(trained: list[runs.Run], mark: float) -> str:
    """The median of the seeds that got there, and how many did."""
    times = [seconds for run in trained if (seconds := run.seconds_to(mark)) is not None]
    median = f"{statistics.median(times):.0f} s (median)" if times else "never"
    return f"{median}, {len(times)} of {len(trained)} seeds"


def sooner(ours: list[runs.Run], records: list[runs.Run], mark: float) -> float | None:
    """The record's median over ours, where every seed of both got there."""
    both = [[run.seconds_to(mark) for run in trained] for trained in (ours, records)]
    medians = [statistics.median([s for s in times if s is not None]) for times in both if None not in times]
    return medians[1] / medians[0] if len(medians) == 2 else None


if __name__ == "__main__":
    main()
