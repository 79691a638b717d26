"""The CNN of `configs/cnn.toml` on two CPU cores: test accuracy and seconds of training, over several seeds.

One plain forward pass, no test-time augmentation; the accuracy after the last epoch, not the best on the way.

    python benchmarks/cnn.py --data DIR       DIR holds cifar-10-batches-py; about 6 minutes a seed on two cores
"""

import statistics

import runs

MARKS = (0.85, 0.88, 0.90)


def main() -> None:
    arguments = runs.arguments(__doc__ or "")
    print(runs.heading(arguments.data))
    ours = []
    for seed in range(arguments.seeds):
        ours.append(run := runs.train("cnn.toml", str(arguments.data), seed=seed, keep=arguments.keep))
        print(f"seed {seed}: {run.top1:.2%} after {run.train_sec:.0f} s of training", flush=True)
    print(f"test accuracy: {runs.spread([run.top1 for run in ours], '.2%')} over {len(ours)} seeds")
    print(f"training seconds: {runs.spread([run.train_sec for run in ours], '.0f')}")
    for mark in MARKS:
        times = [seconds for run in ours if (seconds := run.seconds_to(mark)) is not None]
        median = f"{statistics.median(times):.0f} s (median)" if times else "never"
        print(f"to {mark:.0%}: {median}, {len(times)} of {len(ours)} seeds")


if __name__ == "__main__":
    main()
