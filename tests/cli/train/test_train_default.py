"""What `imgcls train --data DIR` begins with: pretrained weights where they are here, and how to have it otherwise."""

import json
import tomllib
from pathlib import Path

import pytest
from labelled_data import write_cifar10, write_classes
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.models.checkpoint import load_checkpoint
from imgcls.models.families import efficientnet_lite
from imgcls.models.families.efficientnet_lite import SHA256, weights_path

NAME = "efficientnet-lite0"
SMALL = ("--epochs", 2, "--batch-size", 6, "--set", "data.image_px=32", "--device", "cpu")
needs_weights = pytest.mark.skipif(not weights_path().is_file(), reason="the extra imagenet isn't installed")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    return write_classes(tmp_path_factory.mktemp("data") / "photos", {"ship": 6, "cat": 6}, suffix=".jpg")


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Run the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["train", *map(str, arguments)])


def config_of(train, *arguments):
    result = train(*arguments, "--print-config")
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.stdout)


@needs_weights
def test_a_folder_is_fine_tuned_on_where_weights_are_here(train, photos):
    result = train("--data", photos, *SMALL, "-o", "run", "-f", "json")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if "--from-scratch" in line]
    assert lines == [
        f"fine-tunes {NAME}, its head first, then all layers; --from-scratch begins with random weights instead"
    ]
    start = {"model": NAME, "weights": "IMAGENET1K", "weights_sha256": SHA256, "kept_head": False}
    assert json.loads(result.stdout)["start"] == start
    assert load_checkpoint(Path("run/best.pt")).start == start
    config = tomllib.loads(Path("run/config.toml").read_text())
    assert (config["model"]["name"], config["model"]["pretrained"]) == (NAME, "IMAGENET1K")
    # Of fewer epochs than the recipe has, half are the backbone's.
    assert (config["train"]["epochs"], config["finetune"]["head_epochs"]) == (2, 1)
    assert "the backbone is frozen up to epoch 1, and runs once on every image" in result.stderr


@needs_weights
def test_freeze_trains_the_head_of_it(train, photos):
    result = train("--data", photos, *SMALL, "--freeze")
    assert result.exit_code == 0, result.output
    assert f"fine-tunes {NAME}, its head alone; --from-scratch" in result.stderr
    assert "the backbone is frozen, and runs once on every image" in result.stderr


@needs_weights
def test_from_scratch_and_what_names_a_model_keep_their_meaning(train, photos, tmp_path):
    data = ("--data", photos)
    assert config_of(train, *data)["model"]["name"] == NAME
    scratch = config_of(train, *data, "--from-scratch")
    assert scratch == config_of(train, *data, "-m", "cnn")
    assert scratch["model"]["pretrained"] is False
    cifar10 = write_cifar10(tmp_path / "cifar-10-batches-py", per_file=2)
    named = {
        "mlp": ("-m", "mlp"),
        "cnn": ("-c", "cnn", *data),
        # Nothing is fetched for a network that was only named.
        "resnet18": ("-m", "resnet18"),
    }
    for name, options in named.items():
        config = config_of(train, *data, *options)
        assert (config["model"]["name"], config["model"]["pretrained"]) == (name, False)
    for options in (("--data", "cifar10"), ("--data", cifar10), (*data, "--set", "model.arguments.widths=[4]"), ()):
        assert config_of(train, *options)["model"]["name"] == "cnn"
    begun = config_of(train, *data, "-m", "cifar10-cnn")
    assert begun["model"]["weights"] == "cifar10-cnn"
    assert begun["finetune"]["head_epochs"] == 0


@needs_weights
def test_a_named_network_whose_weights_are_here_or_asked_for_is_fine_tuned(train, photos):
    asked = config_of(train, "--data", photos, "-m", "resnet18", "--pretrained")
    named = config_of(train, "--data", photos, "-m", NAME)
    for config, name in ((asked, "resnet18"), (named, NAME)):
        assert config["model"]["name"] == name
        assert config["finetune"]["freeze_batch_norm"]
        assert 0 < config["finetune"]["head_epochs"] < config["train"]["epochs"]
    scratch = config_of(train, "--data", photos, "-m", NAME, "--from-scratch")
    assert scratch["model"]["pretrained"] is False
    assert not scratch["finetune"]["freeze_batch_norm"]


@needs_weights
@pytest.mark.parametrize("epochs", [("--epochs", 1), ("--set", "train.epochs=1")])
def test_a_single_epoch_trains_all_layers(train, photos, epochs):
    config = config_of(train, "--data", photos, *epochs)
    assert (config["train"]["epochs"], config["finetune"]["head_epochs"]) == (1, 0)


def test_without_weights_one_line_names_the_extra(train, photos, monkeypatch):
    def absent(name: str) -> None:
        raise efficientnet_lite.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(efficientnet_lite.metadata, "distribution", absent)
    result = train("--data", photos, *SMALL, "-o", "run")
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if "random weights" in line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: ")
    assert "pip install 'imgcls[imagenet]'" in lines[0]
    assert json.loads(Path("run/result.json").read_text())["start"] is None
    assert "random weights" not in train("--data", photos, *SMALL, "--from-scratch").stderr


@pytest.mark.parametrize("other", [("--pretrained", "-m", "resnet18"), ("--freeze",), ("--weights", "x.pt"),
                                   ("-m", "cifar10-cnn"), ("--resume", "run")])  # fmt: skip
def test_from_scratch_contradicts_what_is_trained(train, photos, other):
    result = train("--data", photos, "--from-scratch", *other)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "contradict each other" in result.stderr
