import sys

import cifar10_files
import overhead
import pytest
import torch
from bare_loop import BareLoop, followed
from labelled_data import write_cifar10

from imgcls import load_recipe, train
from imgcls.models.checkpoint import load_checkpoint


@pytest.fixture
def cifar10(tmp_path):
    return write_cifar10(tmp_path / "data" / "cifar-10-batches-py", per_file=4).parent


@pytest.mark.parametrize(
    "settings",
    [
        {"model.name": "mlp", "model.arguments": {"hidden": [8]}, "optim.name": "adamw", "train.channels_last": False},
        {"model.name": "mlp", "model.arguments": {"hidden": [8]}, "optim.name": "sgd"},
        {"model.name": "cnn", "model.arguments": {"widths": [4, 8], "depth": 2}, "optim.name": "muon"},
    ],
    ids=["adamw", "sgd", "muon"],
)
def test_the_bare_loop_takes_the_same_step(cifar10, tmp_path, settings):
    given = {
        "data.source": str(cifar10),
        "data.allow_modified": True,
        "optim.label_smoothing": 0.1,
        "optim.weight_decay": 0.3,
        "optim.rest_weight_decay": 0.2,
        "augment.flip": "off",
        "train.epochs": 1,
        "train.batch_size": 20,
        "train.precision": "fp32",
    }
    ends = []
    # A rate of next to nothing leaves the weights where they begin.
    for rate in (1e-30, 0.05):
        recipe, dropped = followed(load_recipe(flags=given | settings | {"optim.lr": rate, "optim.rest_lr": rate}))
        train(recipe, output=tmp_path / str(rate), device="cpu")
        ends.append(load_checkpoint(tmp_path / str(rate) / "last.pt").weights)
    assert dropped == ["schedule.shape", "schedule.warmup"]
    loop = BareLoop(recipe, cifar10_files.load(cifar10), device=torch.device("cpu"), autocast_dtype=None)
    loop.network.load_state_dict(ends[0])
    loop.epoch(0)
    for name, parameter in loop.network.named_parameters():
        torch.testing.assert_close(parameter.detach(), ends[1][name], atol=2e-6, rtol=1e-4, msg=name)
        assert parameter.requires_grad != torch.equal(ends[0][name], ends[1][name])


def test_it_says_what_it_measured(cifar10, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["overhead.py", "--data", str(cifar10), "--rounds", "2", "--images", "11"])
    overhead.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "mlp.toml: 2 rounds each of 11 images, in turn"
    assert [line.split(":")[0] for line in lines if "ratio" in line] == ["  wall", "  CPU"] * 2
    assert any("train.resolution" in line for line in lines)
