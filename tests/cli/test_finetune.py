"""`imgcls train` that begins with trained weights, as a user meets it."""

import hashlib
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision.models
from labelled_data import write_classes
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.models.checkpoint import load_checkpoint
from imgcls.models.families.torchvision_weights import catalogue_entry
from imgcls.models.weights.weights_cache import weights_path

NAME = "squeezenet1_1"


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_classes(tmp_path_factory.mktemp("data") / "photos", {"ship": 6, "cat": 6, "owl": 6}, suffix=".jpg")


@pytest.fixture
def command(tmp_path, monkeypatch):
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
    monkeypatch.setattr("imgcls.models.families.torchvision.torchvision_entries", lambda: [entry])
    return weights_path(entry)


def test_pretrained_weights_are_fetched_and_every_command_takes_the_result(command, photos, published, tmp_path):
    arguments = ("-m", NAME, "--pretrained", "--data", photos, "--epochs", 1, "--set", "data.image_px=64", "-o", "run")
    result = command("train", *arguments, "-f", "json")
    assert result.exit_code == 0, result.output
    digest = hashlib.sha256(published.read_bytes()).hexdigest()
    # With its size, before the first byte of it has come far.
    assert f"downloading the weights of {NAME} ({published.stat().st_size / 2**20:.0f} MiB)" in result.stderr
    assert f"begins with IMAGENET1K_V1 ({NAME}@{digest[:12]}), new head for 3 classes" in result.stderr
    start = {"model": NAME, "weights": "IMAGENET1K_V1", "weights_sha256": digest, "kept_head": False}
    assert json.loads(result.stdout)["start"] == start
    assert json.loads((tmp_path / "run/result.json").read_text())["start"] == start
    best = load_checkpoint(tmp_path / "run/best.pt")
    assert best.start == load_checkpoint(tmp_path / "run/last.pt").start == start
    # 256 to 224, as the weights were measured, is 73 to 64.
    assert (best.transform.resize_px, best.transform.crop_px, best.classes) == (73, 64, ("cat", "owl", "ship"))
    measured = command("eval", "run", "--data", photos, "--split", "val", "-f", "json")
    assert json.loads(measured.stdout)["correct"] == best.metrics["correct"]
    image = next((photos / "cat").iterdir())
    assert command("predict", "-m", "run", image, "-f", "jsonl").exit_code == 0
    exported = command("export", "run", "-o", "run.onnx")
    assert exported.exit_code == 0, exported.output
    # Once here, nothing is asked of the network any more; nor does a run that goes on need the weights.
    published.unlink()
    again = command("train", "--resume", "run")
    assert again.exit_code == 0, again.output


def test_weights_that_are_not_here_offline(command, photos, monkeypatch):
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    result = command("train", "-m", NAME, "--pretrained", "--data", photos, "-o", "run")
    assert (result.exit_code, result.stdout) == (6, "")
    for text in (
        "https://download.pytorch.org/models/squeezenet1_1-",
        "IMGCLS_OFFLINE",
        "put that file at",
        "-m efficientnet-lite0 needs no download",
    ):
        assert text in result.stderr
    assert not Path("run").exists()


def test_from_the_bundled_model_and_on_from_what_came_of_it(command, photos, tmp_path):
    settings = ("--data", photos, "--epochs", 1, "--batch-size", 8)
    result = command("train", "-m", "cifar10-cnn", *settings, "-o", "first")
    assert result.exit_code == 0, result.output
    assert "begins with cifar10-cnn (cnn@" in result.stderr
    assert "new head for 3 classes" in result.stderr
    first = load_checkpoint(tmp_path / "first/best.pt")
    assert first.transform == load_checkpoint_of_bundled().transform
    result = command("train", "--model", "first", *settings, "-o", "second")
    assert result.exit_code == 0, result.output
    assert "with its head, the classes being the same" in result.stderr
    second = load_checkpoint(tmp_path / "second/best.pt")
    assert second.start["weights_sha256"] == hashlib.sha256((tmp_path / "first/best.pt").read_bytes()).hexdigest()
    result = command("train", "--weights", "first/best.pt", *settings, "-o", "third")
    assert result.exit_code == 0, result.output
    third = load_checkpoint(tmp_path / "third/best.pt")
    for key, value in second.weights.items():
        assert torch.equal(value, third.weights[key]), key


def load_checkpoint_of_bundled():
    from imgcls.models.weights.initial_weights import stored_start

    stored = stored_start("cifar10-cnn")
    assert stored is not None
    return stored


def test_a_plain_state_dict_needs_the_networks_name(command, photos, published_weights):
    result = command("train", "--weights", published_weights, "--data", photos)
    assert (result.exit_code, result.stdout) == (3, "")
    assert f"--model resnet18 --weights {published_weights}" in result.stderr
    settings = ("--weights", published_weights, "--data", photos, "--set", "data.image_px=32")
    result = command("train", "-m", NAME, *settings, "--epochs", 1, "-o", "run")
    assert result.exit_code == 0, result.output
    assert str(published_weights) in result.stderr
    result = command("train", "-m", "squeezenet1_0", *settings)
    assert result.exit_code == 6
    assert "the weights don't fit 'squeezenet1_0'" in result.stderr


def test_few_images_and_random_weights(command, photos):
    settings = ("--data", photos, "--epochs", 1, "--set", "data.image_px=32")
    result = command("train", "-m", NAME, *settings)
    assert result.exit_code == 0, result.output
    assert f"warning: {NAME} begins with random weights, for which 15 images are few: --pretrained" in result.stderr
    assert "random weights" not in command("train", *settings, "--from-scratch").stderr


def test_what_freeze_needs(command, photos):
    result = command("train", "-m", "cnn", "--freeze", "--data", photos)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "finetune.freeze: the backbone of cnn would stay as random as it begins" in result.stderr
    assert "--pretrained, --weights FILE, or --model RUN" in result.stderr
    result = command("train", "-m", "cifar10-cnn", "--freeze", "--data", photos, "--epochs", 2, "-o", "run")
    assert result.exit_code == 0, result.output
    assert "the backbone is frozen, and runs once on every image" in result.stderr
    shifted = command("train", "-m", "cifar10-cnn", "--freeze", "--data", photos, "--epochs", 1,
                     "--set", "augment.translate_px=2", "--set", "augment.erasing=0.1", "-o", "shifted")  # fmt: skip
    text = "the backbone is frozen, but runs at every step: augment.translate_px and augment.erasing change the images"
    assert text in shifted.stderr


KILLED = ("train", "-m", "cifar10-cnn", "--batch-size", "6", "--epochs", "24", "--set", "data.image_px=8",
          "--set", "finetune.head_epochs=16", "--device", "cpu", "-q")  # fmt: skip


@pytest.fixture(scope="module")
def never_killed(imgcls, photos, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    finished = imgcls(*KILLED, "--data", photos, "-o", run, IMGCLS_CACHE=str(run.parent / "cache"))
    assert finished.code == 0, finished.stderr
    return run


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal there")
@pytest.mark.parametrize("lines", [2, 18], ids=["head", "all"])
def test_killed_in_either_phase_it_goes_on_to_the_same_weights(imgcls, never_killed, photos, tmp_path, lines):
    running = imgcls.start(*KILLED, "--data", photos, "-o", tmp_path / "cut")
    metrics = tmp_path / "cut/metrics.jsonl"
    while not metrics.exists() or len(metrics.read_bytes().splitlines()) < lines:
        running.has_ended(0.002)
    running.kill(signal.SIGKILL)
    # On a machine that was busy with something else it may have ended just before.
    assert running.wait().code in (-signal.SIGKILL, 0)
    resumed = imgcls("train", "--resume", tmp_path / "cut", "--device", "cpu", "-q")
    assert resumed.code == 0, resumed.stderr
    for name in ("best.pt", "last.pt"):
        whole, cut = (load_checkpoint(run / name).weights for run in (never_killed, tmp_path / "cut"))
        assert all(torch.equal(value, cut[key]) for key, value in whole.items())


def test_what_print_config_shows_of_it(command):
    result = command("train", "-m", "resnet50", "--pretrained", "--print-config")
    assert result.exit_code == 0
    assert 'pretrained = "IMAGENET1K_V2"' in result.stdout
    assert "resize_px = 232" in result.stdout
    result = command("train", "-m", "cifar10-cnn", "--print-config")
    assert 'weights = "cifar10-cnn"' in result.stdout
    assert "widths = [32, 96, 192]" in result.stdout
