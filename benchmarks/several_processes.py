"""One recipe in one process and in several, on CPU cores: test accuracy, and what the further processes gain.

Three ways in turn, for every seed: one process with one thread; as many processes as asked for, with a thread each,
started by torchrun; and one process with as many threads. All train on the same batches. Batch norm measures each
process's own part of a batch, so that the accuracies may differ within the seeds' spread, and should differ no further.

Seconds are those of training steps with their batches, augmentation and exchange of gradients: start-up, loading and
measuring are left out. Nothing else may run on the machine.

    python benchmarks/several_processes.py --data DIR                          about 25 minutes a seed on two cores
    python benchmarks/several_processes.py --data DIR --epochs-fraction 0.3    about 8 minutes a seed

DIR holds cifar-10-batches-py.
"""

import argparse
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import cifar10_files
import runs


@dataclass
class Way:
    """How many processes with how many threads, and the runs made so.

    Attributes:
        processes: of one run.
        threads: of each process.
        trained: a run a seed.
    """

    processes: int
    threads: int
    trained: list[runs.Run] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{_spelt(self.processes, 'process', 'es')}, {_spelt(self.threads, 'thread', 's')} each"


def main() -> None:
    parser = runs.parser(__doc__ or "")
    parser.add_argument("--recipe", default="cnn.toml", help="a file in configs/")
    parser.add_argument("--processes", type=int, default=2)
    arguments = runs.parsed(parser)
    with cifar10_files.opened(arguments.data, limit=arguments.limit) as data:
        compare(arguments, data)


def compare(arguments: argparse.Namespace, data: Path) -> None:
    """Train in each way with every seed in turn, then print what it came to."""
    print(runs.heading(data))
    count = arguments.processes
    alone, several, threaded = ways = Way(1, 1), Way(count, 1), Way(1, count)
    options = runs.shortened(arguments.recipe, arguments.epochs_fraction)
    for seed in range(arguments.seeds):
        for way in ways:
            run = runs.train(
                arguments.recipe,
                data,
                seed=seed,
                keep=arguments.keep and arguments.keep / f"{way.processes}x{way.threads}",
                options=options,
                processes=way.processes,
                threads=way.threads,
            )
            way.trained.append(run)
            print(f"seed {seed}, {way}: {run.top1:.2%} after {run.train_sec:.1f} s of training", flush=True)
    for way in ways:
        print(f"{way}:")
        print(f"  test accuracy: {runs.spread([run.top1 for run in way.trained], '.2%')} over {len(way.trained)} seeds")
        print(f"  training seconds: {runs.spread([run.train_sec for run in way.trained], '.1f')}")
    difference = statistics.fmean(run.top1 for run in several.trained) - statistics.fmean(
        run.top1 for run in alone.trained
    )
    print(f"{count} processes against one: {difference:+.2%} accuracy")
    print(f"  {speedup(several, alone):.2f} times as fast as one process with one thread")
    print(f"  {speedup(several, threaded):.2f} times as fast as one process with {count} threads")


def speedup(way: Way, baseline: Way) -> float:
    """The median over the seeds of the baseline's seconds over the way's."""
    return statistics.median(
        slow.train_sec / fast.train_sec for fast, slow in zip(way.trained, baseline.trained, strict=True)
    )


def _spelt(num: int, what: str, plural: str) -> str:
    return f"{num} {what}{plural if num != 1 else ''}"


if __name__ == "__main__":
    main()
