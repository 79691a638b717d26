import json
import sys

import gpu
import pytest
import torch
from labelled_data import write_cifar10


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """Run the script on the CPU with a few images; its exit code, and the figures that it wrote."""
    data = write_cifar10(tmp_path / "data" / "cifar-10-batches-py", per_file=10).parent

    def run(*options):
        output = tmp_path / "figures.json"
        common = ["--data", str(data), "--device", "cpu", "--limit", "50", "--seeds", "2", "--output", str(output)]
        monkeypatch.setattr(sys, "argv", ["gpu.py", *common, *options])
        code = gpu.main()
        return code, json.loads(output.read_text(encoding="utf-8"))

    return run


def test_without_a_gpu_it_says_so_and_ends_well(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--data", str(tmp_path / "none")])
    assert gpu.main() == 0
    assert capsys.readouterr().out == "no CUDA device here: nothing was measured\n"


def test_recipes_are_measured_with_every_seed(measure):
    options = ("--set", "train.batch_size=10", "--set", "train.precision=fp32")
    code, figures = measure(
        "--recipes", "mlp.toml", "--epochs-fraction", "0.2", "--parts", "imgcls", "agreement", *options
    )
    assert code == 0
    assert figures["mlp.toml"][0]["precision"] == "fp32"
    first, second = figures["mlp.toml"]
    assert (first["seed"], second["seed"]) == (0, 1)
    assert len(first["curve"]) == len(second["curve"]) >= 2
    assert first["curve"][-1][0] == pytest.approx(first["train_sec"])
    assert first["top1"] == first["curve"][-1][1]
    assert figures["agreement"]["fp32"]["same_class"] == 10
    assert figures["agreement"]["fp32"]["largest_difference"] < 1e-5
    assert all(row["largest_difference"] < 0.1 for row in figures["agreement"].values())


def test_a_part_that_fails_does_not_stop_the_others(measure, monkeypatch, capsys):
    def fail(_bench):
        raise RuntimeError("no such luck")

    monkeypatch.setitem(gpu.PARTS, "record", fail)
    code, figures = measure("--recipes", "mlp.toml", "--epochs-fraction", "0.1", "--parts", "record", "imgcls")
    captured = capsys.readouterr()
    assert code == 1
    assert captured.out.endswith("failed: record\n")
    assert "no such luck" in captured.err
    assert len(figures["mlp.toml"]) == 2


@pytest.mark.slow
def test_every_part_runs(measure):
    code, figures = measure("--recipes", "mlp.toml", "--epochs-fraction", "0.3")
    assert code == 0
    assert set(figures) == {"about", "set", "mlp.toml", *gpu.PARTS} - {"imgcls"}
    assert figures["resume"]["identical"]
    assert figures["predict"]["count"] == 10
    assert figures["predict"]["resnet50_images_per_sec"]["fp32"] > 0
