"""Networks that begin with weights from elsewhere, against what a plain script would do with torchvision."""

import shutil
from pathlib import Path

import pytest
import torch
import torchvision.models
from torch import nn
from torch.testing import assert_close

from imgcls.errors import ExitCode, ModelError
from imgcls.host.digests import file_sha256
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from imgcls.models.heads import head_name
from imgcls.models.loading import load_model
from imgcls.models.registry import find_checkpoint, is_architecture, pretrained_entry, whole_spec
from imgcls.models.weights.initial_weights import load_start, stored_start

CLASSES = ("daisy", "rose", "tulip")
CNN_ARGUMENTS = {"widths": [4, 6], "depth": 1}


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(3)
    stored = Checkpoint(
        model_name="cnn",
        model_arguments=CNN_ARGUMENTS,
        classes=("cat", "dog", "bird"),
        transform=Transform(20, 16, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bicubic"),
        weights=build_network("cnn", num_classes=3, arguments=CNN_ARGUMENTS).state_dict(),
    )
    path = tmp_path / "run" / "best.pt"
    path.parent.mkdir()
    save_checkpoint(stored, path)
    return path


def published(folder: Path, name: str, **arguments) -> tuple[Path, nn.Module]:
    torch.manual_seed(len(name))
    network = torchvision.models.get_model(name, weights=None, **arguments)
    path = folder / f"{name}.pth"
    torch.save(network.state_dict(), path)
    return path, network


@pytest.mark.parametrize("name", ["squeezenet1_1", "mnasnet0_5"])
def test_a_published_network_gets_a_new_head_and_keeps_its_backbone(tmp_path, monkeypatch, name):
    path, theirs = published(tmp_path, name)
    monkeypatch.setattr("imgcls.models.families.torchvision.cached_weights", lambda entry, progress: path)
    start = load_start(name, {}, pretrained="IMAGENET1K_V1")
    torch.manual_seed(7)
    network, origin = start.network_for(CLASSES)
    head = head_name(theirs)
    # What everyone writes by hand.
    torch.manual_seed(7)
    new = nn.Conv2d(512, 3, kernel_size=1) if name.startswith("squeezenet") else nn.Linear(1280, 3)
    parent, _, last = head.rpartition(".")
    setattr(theirs.get_submodule(parent), last, new)
    assert_close(network.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    assert origin.to_dict() == {
        "model": name,
        "weights": "IMAGENET1K_V1",
        "weights_sha256": file_sha256(path),
        "kept_head": False,
    }
    # The network has memory of its own, and a second one starts from the same.
    with torch.no_grad():
        next(network.parameters()).zero_()
    assert next(start.network_for(CLASSES)[0].parameters()).any()
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_checkpoint_that_results_is_one_like_any_other(tmp_path):
    path, _theirs = published(tmp_path, "googlenet", aux_logits=True, init_weights=False)
    # As it is trained: without its second outputs.
    arguments = {"aux_logits": False, "transform_input": True}
    network, _origin = load_start("googlenet", arguments, weights=str(path)).network_for(CLASSES)
    stored = Checkpoint("googlenet", arguments, CLASSES, Transform(64, 64), weights=network.state_dict())
    save_checkpoint(stored, tmp_path / "best.pt")
    images_BCHW = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected_BK = network.eval()(images_BCHW)
        assert torch.equal(load_model(str(tmp_path / "best.pt")).network(images_BCHW), expected_BK)
    assert expected_BK.shape == (2, 3)


def test_a_state_dict_with_any_number_of_classes(tmp_path):
    path, theirs = published(tmp_path, "squeezenet1_1", num_classes=7)
    torch.save({"state_dict": {f"module.{key}": value for key, value in theirs.state_dict().items()}}, path)
    start = load_start("squeezenet1_1", {}, weights=str(path))
    assert start.classes == ()
    assert start.network_for(CLASSES)[0].state_dict()["classifier.1.weight"].shape == (3, 512, 1, 1)


def test_the_head_is_kept_where_the_classes_are_the_same_by_name(checkpoint):
    start = load_start("cnn", CNN_ARGUMENTS, weights=str(checkpoint))
    images_BCHW = torch.randn(2, 3, 16, 16)
    network, origin = start.network_for(("bird", "cat", "dog"))
    assert origin.kept_head
    with torch.no_grad():
        expected_BK = start.network(images_BCHW)
        assert_close(network.eval()(images_BCHW), expected_BK[:, [2, 0, 1]])
    assert not network.stem.weight.requires_grad
    network, origin = start.network_for(("bird", "cat", "dog", "wolf"))
    assert not origin.kept_head
    assert network.head.weight.shape == (4, 6)
    for key, value in start.network.state_dict().items():
        if not key.startswith("head."):
            assert torch.equal(network.state_dict()[key], value)


def test_ways_to_name_a_start(checkpoint, tmp_path, monkeypatch):
    stored = load_checkpoint(checkpoint)
    for spec in (checkpoint, checkpoint.parent):
        assert stored_start(str(spec)).transform == stored.transform
        assert load_start("cnn", CNN_ARGUMENTS, weights=str(spec)).weights_sha256 == file_sha256(checkpoint)
    monkeypatch.chdir(tmp_path)
    assert whole_spec("run") == str(checkpoint)
    assert whole_spec("cifar10-cnn") == "cifar10-cnn"
    bundled = stored_start("cifar10-cnn")
    assert bundled is not None
    assert len(bundled.classes) == 10
    assert load_start("cnn", bundled.model_arguments, weights="cifar10-cnn").weights == "cifar10-cnn"
    path, _network = published(tmp_path, "squeezenet1_1")
    assert stored_start(str(path)) is None
    assert is_architecture("cnn")
    assert is_architecture("resnet18")
    shutil.copytree("run", "resnet18")
    # The name of a network stays one, even where a run's folder is called so; `./` or a whole path means the folder.
    assert find_checkpoint("resnet18")
    assert is_architecture("resnet18")
    assert not is_architecture("./resnet18")
    assert not is_architecture("cifar10-cnn")
    assert not is_architecture("run")


def test_what_cannot_be_begun_with_is_said(checkpoint, tmp_path):
    def refuse(text, *arguments, **settings):
        with pytest.raises(ModelError, match=text) as caught:
            load_start(*arguments, **settings)
        assert caught.value.exit_code == ExitCode.MODEL
        assert caught.value.hint

    refuse("no such weights: nothing", "cnn", {}, weights="nothing")
    refuse("no such checkpoint: .*none.pt", "cnn", {}, weights=str(tmp_path / "none.pt"))
    refuse("a checkpoint of 'cnn', not of 'mlp'", "mlp", {}, weights=str(checkpoint))
    refuse(r"best\.pt: the weights don't fit 'cnn': ", "cnn", {"widths": [9]}, weights=str(checkpoint))
    path, _network = published(tmp_path, "squeezenet1_1")
    refuse(r"squeezenet1_1\.pth: the weights don't fit 'resnet18': conv1.weight is missing", "resnet18", {},
           weights=str(path))  # fmt: skip
    refuse("'resnet18' has no weights called 'BEST'", "resnet18", {}, pretrained="BEST")
    (tmp_path / "x.onnx").write_bytes(b"")
    refuse("can't be trained further", "resnet18", {}, weights=str(tmp_path / "x.onnx"))
    (tmp_path / "torn.pth").write_bytes(path.read_bytes()[:999])
    refuse(r"torn\.pth can't be read", "squeezenet1_1", {}, weights=str(tmp_path / "torn.pth"))


@pytest.mark.parametrize("px", [96, 224])
def test_a_vision_transformers_positions_fit_other_images(tmp_path, px):
    # Small, so that it is quick: the real ones only have more layers.
    tiny = {"patch_size": 32, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
    theirs = torchvision.models.VisionTransformer(image_size=224, **tiny)
    state = theirs.state_dict()
    torch.save(state, tmp_path / "vit.pth")
    from imgcls.models.families.torchvision import Torchvision

    network = torchvision.models.VisionTransformer(image_size=px, num_classes=2, **tiny)
    fitted = Torchvision().fit(network, state)
    positions = fitted["encoder.pos_embedding"]
    assert positions.shape == (1, (px // 32) ** 2 + 1, 8)
    if px == 224:
        assert fitted is state
    else:
        assert_close(positions[:, 0], state["encoder.pos_embedding"][:, 0])
        network.load_state_dict({**fitted, "heads.head.weight": torch.zeros(2, 8), "heads.head.bias": torch.zeros(2)})


def test_named_weights_are_another_file():
    first, default = pretrained_entry("resnet50", "IMAGENET1K_V1"), pretrained_entry("resnet50")
    assert (first.weights_name, default.weights_name) == ("IMAGENET1K_V1", "IMAGENET1K_V2")
    assert first.url != default.url
    assert pretrained_entry("alexnet", "IMAGENET1K_V1") == pretrained_entry("alexnet")
