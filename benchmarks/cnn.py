"""The CNN of `configs/cnn.toml` on two CPU cores: test accuracy and seconds of training, over several seeds.

With --against-record, the published 8-epoch speed-record recipe (`record_recipe.py`) runs in turn on the same files.
Accuracy is that of one plain forward pass after the last epoch, not the best on the way; with --against-record also
that of the six views of each test image that the record's authors count. Where those lift the record's recipe over
a mark at its end, the mark counts as reached, without the seconds that they take; imgcls has to get there plainly.

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
        run = runs.train(
            arguments.recipe,
            data,
            seed=seed,
            keep=arguments.keep,
            options=options,
            six_views=arguments.against_record,
        )
        ours.append(run)
        print(f"seed {seed}, imgcls: {run.top1:.2%} after {run.train_sec:.0f} s of training", flush=True)
        if arguments.against_record:
            fraction = ["--epochs-fraction", str(arguments.epochs_fraction)]
            records.append(run := runs.train_record(data, seed=seed, keep=arguments.keep, options=fraction))
            print(f"seed {seed}, record: {run.top1:.2%} after {run.train_sec:.0f} s of training", flush=True)
    print(f"imgcls, {arguments.recipe}:")
    describe(ours)
    for mark in MARKS:
        print(f"  to {mark:.0%}: {reached([run.seconds_to(mark) for run in ours])}")
    if not records:
        return
    print("the record's recipe:")
    describe(records)
    for mark in MARKS:
        theirs = [run.seconds_to_with_views(mark) for run in records]
        print(f"  to {mark:.0%}: {reached(theirs)}")
        if (ratio := sooner([run.seconds_to(mark) for run in ours], theirs)) is not None:
            print(f"    imgcls gets there in {1 / ratio:.2f} of the time: {ratio:.2f} times as fast")


def describe(trained: list[runs.Run]) -> None:
    """Accuracy and seconds of all seeds."""
    print(f"  test accuracy: {runs.spread([run.top1 for run in trained], '.2%')} over {len(trained)} seeds")
    views = [run.six_views_top1 for run in trained if run.six_views_top1 is not None]
    if views:
        print(f"  test accuracy with six views: {runs.spread(views, '.2%')}")
    print(f"  training seconds: {runs.spread([run.train_sec for run in trained], '.0f')}")


def reached(times: list[float | None]) -> str:
    """The median of the seeds that got there, and how many did."""
    known = [seconds for seconds in times if seconds is not None]
    median = f"{statistics.median(known):.0f} s (median)" if known else "never"
    return f"{median}, {len(known)} of {len(times)} seeds"


def sooner(ours: list[float | None], theirs: list[float | None]) -> float | None:
    """Their median over ours, where every seed of both got there."""
    medians = [
        statistics.median([seconds for seconds in times if seconds is not None])
        for times in (ours, theirs)
        if None not in times
    ]
    return medians[1] / medians[0] if len(medians) == 2 else None


if __name__ == "__main__":
    main()
