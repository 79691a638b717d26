import sys

import pytest
import runs
import several_processes
from labelled_data import write_cifar10


def test_it_says_what_the_processes_gain(tmp_path, monkeypatch, capsys):
    # Seconds and accuracy of the first seed; the second one is half as fast everywhere.
    measured = {(1, 1): (30.0, 0.85), (2, 1): (18.0, 0.86), (1, 2): (20.0, 0.85)}

    def train(_recipe, _data, *, seed, processes, threads, **_options):
        seconds, top1 = measured[processes, threads]
        return runs.Run(seed, [((seed + 1) * seconds, top1)])

    monkeypatch.setattr(runs, "train", train)
    data = write_cifar10(tmp_path / "cifar-10-batches-py").parent
    monkeypatch.setattr(sys, "argv", ["several_processes.py", "--data", str(data), "--seeds", "2"])
    several_processes.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "seed 0, 2 processes, 1 thread each: 86.00% after 18.0 s of training"
    assert lines[-3:] == [
        "2 processes against one: +1.00% accuracy",
        "  1.67 times as fast as one process with one thread",
        "  1.11 times as fast as one process with 2 threads",
    ]


@pytest.mark.slow
def test_torchrun_trains_for_it(tmp_path):
    data = write_cifar10(tmp_path / "cifar-10-batches-py", per_file=16).parent
    run = runs.train("mlp.toml", data, seed=0, options=["--epochs", "1", "--batch-size", "8"], processes=2, threads=1)
    assert 0 <= run.top1 <= 1
