"""`imgcls train` that begins with trained weights, as a user meets it."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision.models
from labelled_data import write_classes
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.core.checkpoint import load_checkpoint
from imgcls.models.pretrained import catalogue_entry
from imgcls.models.weights import weights_path

NAME = "squeezenet1_1"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_classes(tmp_path_factory.mktemp("data") / "photos", {"ship": 6, "cat": 6, "owl": 6}, suffix=".jpg")


@pytest.fixture
def imgcls(tmp_path, monkeypatch):
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture(scope="session")
def published_weights(tmp_path_factory) -> Path:
    """Random weights of a small network of torchvision's, in a file whose name tells their hash."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        network = torchvision.models.get_model(NAME, weights=None)
    path = tmp_path_factory.mktemp("published") / f"{NAME}.pth"
    torch.save(network.state_dict(), path)
    return path.rename(path.with_name(f"{NAME}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth"))


@pytest.fixture
def published(published_weights, server, monkeypatch) -> Path:
    """The same as if torchvision published them, at a server of this machine."""
    url = server.add(f"/{published_weights.name}", published_weights.read_bytes())
    entry = replace(catalogue_entry(NAME), url=url)
    monkeypatch.setattr("imgcls.models.pretrained.catalogue_entry", lambda _name, _weights_name="": entry)
    return weights_path(entry)


def test_pretrained_weights_are_fetched_and_every_command_takes_the_result(imgcls, photos, published, tmp_path):
    arguments = ("-m", NAME, "--pretrained", "--data", photos, "--epochs", 1, "--set", "data.image_px=64", "-o", "run")
    result = imgcls("train", *arguments, "-f", "json")
    assert result.exit_code == 0, result.output
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    assert "downloading weights" in result.stderr
    assert f"begins with IMAGENET1K_V1 ({NAME}@{digest[:12]}), new head for 3 classes" in result.stderr
    start = {"model": NAME, "weights": "IMAGENET1K_V1", "weights_sha256": digest, "kept_head": False}
    assert json.loads(result.stdout)["start"] == start
    assert json.loads((tmp_path / "run/result.json").read_text())["start"] == start
    best = load_checkpoint(tmp_path / "run/best.pt")
    assert best.start == load_checkpoint(tmp_path / "run/last.pt").start == start
    # 256 to 224, as the weights were measured, is 73 to 64.
    assert (best.transform.resize_px, best.transform.crop_px, best.classes) == (73, 64, ("cat", "owl", "ship"))
    measured = imgcls("eval", "run", "--data", photos, "--split", "val", "-f", "json")
    assert json.loads(measured.stdout)["correct"] == best.metrics["correct"]
    picture = next((photos / "cat").iterdir())
    assert imgcls("predict", "-m", "run", picture, "-f", "jsonl").exit_code == 0
    exported = imgcls("export", "run", "-o", "run.onnx")
    assert exported.exit_code == 0, exported.output
    # Once here, nothing is asked of the network any more; nor does a run that goes on need the weights.
    published.unlink()
    again = imgcls("train", "--resume", "run")
    assert again.exit_code == 0, again.output


def test_weights_that_are_not_here_offline(imgcls, photos, monkeypatch):
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    result = imgcls("train", "-m", NAME, "--pretrained", "--data", photos, "-o", "run")
    assert (result.exit_code, result.stdout) == (6, "")
    for text in (
        "https://download.pytorch.org/models/squeezenet1_1-",
        "IMGCLS_OFFLINE",
        "put that file at",
        "cifar10-cnn",
    ):
        assert text in result.stderr
    assert not Path("run").exists()


def test_from_the_bundled_model_and_on_from_what_came_of_it(imgcls, photos, tmp_path):
    settings = ("--data", photos, "--epochs", 1, "--batch-size", 8)
    result = imgcls("train", "-m", "cifar10-cnn", *settings, "-o", "first")
    assert result.exit_code == 0, result.output
    assert "begins with cifar10-cnn (cnn@" in result.stderr
    assert "new head for 3 classes" in result.stderr
    first = load_checkpoint(tmp_path / "first/best.pt")
    assert first.transform == load_checkpoint_of_bundled().transform
    result = imgcls("train", "--model", "first", *settings, "-o", "second")
    assert result.exit_code == 0, result.output
    assert "with its head, the classes being the same" in result.stderr
    second = load_checkpoint(tmp_path / "second/best.pt")
    assert second.start["weights_sha256"] == hashlib.sha256((tmp_path / "first/best.pt").read_bytes()).hexdigest()
    result = imgcls("train", "--weights", "first/best.pt", *settings, "-o", "third")
    assert result.exit_code == 0, result.output
    third = load_checkpoint(tmp_path / "third/best.pt")
    for key, value in second.weights.items():
        assert torch.equal(value, third.weights[key]), key


def load_checkpoint_of_bundled():
    from imgcls.models.starting import stored_start

    stored = stored_start("cifar10-cnn")
    assert stored is not None
    return stored


def test_a_plain_state_dict_needs_the_networks_name(imgcls, photos, published_weights):
    result = imgcls("train", "--weights", published_weights, "--data", photos)
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"--model resnet18 --weights {published_weights}" in result.stderr
    settings = ("--weights", published_weights, "--data", photos, "--set", "data.image_px=32")
    result = imgcls("train", "-m", NAME, *settings, "--epochs", 1, "-o", "run")
    assert result.exit_code == 0, result.output
    assert str(published_weights) in result.stderr
    result = imgcls("train", "-m", "squeezenet1_0", *settings)
    assert result.exit_code == 6
    assert "the weights don't fit 'squeezenet1_0'" in result.stderr


def test_what_print_config_shows_of_it(imgcls):
    result = imgcls("train", "-m", "resnet50", "--pretrained", "--print-config")
    assert result.exit_code == 0
    assert 'pretrained = "IMAGENET1K_V2"' in result.stdout
    assert "resize_px = 232" in result.stdout
    result = imgcls("train", "-m", "cifar10-cnn", "--print-config")
    assert 'weights = "cifar10-cnn"' in result.stdout
    assert "widths = [32, 96, 192]" in result.stdout
