"""Weights as people save them: each file is written the way its tool writes it, and must answer as the network did."""

import argparse
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision.models
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close

from imgcls.errors import ExitCode, ModelError
from imgcls.models.loading import load_model
from imgcls.models.weights.state_dicts import FoundWeights, fit_names, load_state_dict, state_dict_of

HERE = Path("file.pth")
NAME = "mobilenet_v3_small"
CLASSES = ("ant", "bee", "wasp")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """What somebody fine-tuned: ImageNet's network with a head for three classes."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        made = torchvision.models.get_model(NAME, weights=None)
        made.classifier[-1] = nn.Linear(1024, len(CLASSES))
    return made.eval()


class LightningModule(nn.Module):
    """As a LightningModule keeps its network, beside the loss and metrics that have tensors of their own."""

    def __init__(self, attribute: str, inner: nn.Module) -> None:
        super().__init__()
        setattr(self, attribute, inner)
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(3))


def torchvision_reference(network: nn.Module) -> dict:
    # references/classification/train.py
    ema = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    args = argparse.Namespace(model=NAME, batch_size=32, norm_weight_decay=None, device="cuda", data_path="/data")
    return {"model": network.state_dict(), "optimizer": {"state": {}, "param_groups": []}, "lr_scheduler": {"step": 3},
            "epoch": 9, "args": args, "model_ema": ema.state_dict()}  # fmt: skip


def timm_train(network: nn.Module) -> dict:
    # timm/utils/checkpoint_saver.py
    args = argparse.Namespace(model=NAME, opt="sgd", lr=0.1, mean=[0.5, 0.5, 0.5])
    return {"epoch": 4, "arch": NAME, "state_dict": network.state_dict(), "optimizer": {"state": {}}, "version": 2,
            "args": args, "state_dict_ema": network.state_dict(), "metric": 71.2}  # fmt: skip


def profiled(network: nn.Module) -> dict:
    # thop registers its counters as buffers of every module.
    state = OrderedDict(network.state_dict())
    for name in ("", "features.0.", "features.0.0."):
        state[f"{name}total_ops"] = state[f"{name}total_params"] = torch.zeros(1, dtype=torch.float64)
    return state


SAVED = {
    "plain": lambda network: network.state_dict(),
    "plain-dict": lambda network: dict(network.state_dict()),
    "half": lambda network: {key: value.half() if value.is_floating_point() else value
                             for key, value in network.state_dict().items()},
    "data-parallel": lambda network: nn.DataParallel(network).state_dict(),
    "compiled": lambda network: torch.compile(network).state_dict(),
    "compiled-data-parallel": lambda network: torch.compile(nn.DataParallel(network)).state_dict(),
    "data-parallel-compiled": lambda network: nn.DataParallel(torch.compile(network)).state_dict(),
    "tutorial": lambda network: {"epoch": 1, "model_state_dict": network.state_dict(), "loss": 0.1},
    "imagenet-example": lambda network: {"epoch": 9, "arch": NAME, "state_dict": nn.DataParallel(network).state_dict(),
                                         "best_acc1": torch.tensor(71.5), "optimizer": {}, "scheduler": {}},
    "net": lambda network: {"net": network.state_dict(), "acc": 93.1, "epoch": 200},
    "params": lambda network: {"params": network.state_dict()},
    "nested": lambda network: {"model": {"state_dict": network.state_dict()}},
    "only-ema": lambda network: {"ema": network.state_dict()},
    "torchvision": torchvision_reference,
    "timm": timm_train,
    "swa": lambda network: AveragedModel(network).state_dict(),
    "swa-of-data-parallel": lambda network: AveragedModel(nn.DataParallel(network)).state_dict(),
    "profiled": profiled,
    **{
        f"lightning-{attribute}": lambda network, attribute=attribute: {
            "epoch": 3, "global_step": 90, "pytorch-lightning_version": "2.4.0", "loops": {"fit_loop": {}},
            "state_dict": LightningModule(attribute, network).state_dict(), "hyper_parameters": {"lr": 0.1},
        }
        for attribute in ("model", "net", "backbone", "network")
    },
    "lightning-compiled": lambda network: {"state_dict": LightningModule("model", torch.compile(network)).state_dict()},
}  # fmt: skip


@pytest.mark.parametrize("save", SAVED.values(), ids=SAVED)
def test_each_file_gives_the_network_back(network, save, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(save(network), path)
    model = load_model(NAME, weights=path, labels=CLASSES)
    images_BCHW = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    tolerance = 2e-2 if save is SAVED["half"] else 1e-6
    with torch.inference_mode():
        assert_close(model.network(images_BCHW), network(images_BCHW), rtol=0, atol=tolerance)
    assert model.classes == CLASSES
    assert model.wordnet_ids == ()
    assert model.network.state_dict().keys() == network.state_dict().keys()


def test_safetensors(network, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_model(network, tmp_path / "model.safetensors")
    model = load_model(NAME, weights=tmp_path / "model.safetensors", labels=CLASSES)
    assert_close(dict(model.network.state_dict()), dict(network.state_dict()), rtol=0, atol=0)
    (tmp_path / "torn.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"torn\.safetensors can't be read"):
        load_model(NAME, weights=tmp_path / "torn.safetensors")


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_pytorchs_imagenet_example_wraps_only_the_features(name, tmp_path):
    # examples/imagenet/main.py: model.features = torch.nn.DataParallel(model.features)
    theirs = torchvision.models.get_model(name, weights=None, num_classes=3).eval()
    kept = {key: value.clone() for key, value in theirs.state_dict().items()}
    theirs.features = nn.DataParallel(theirs.features)
    assert "features.module.0.weight" in theirs.state_dict()
    torch.save({"epoch": 1, "arch": name, "state_dict": theirs.state_dict()}, tmp_path / "checkpoint.pth.tar")
    model = load_model(name, weights=tmp_path / "checkpoint.pth.tar", labels=CLASSES)
    assert_close(dict(model.network.state_dict()), kept, rtol=0, atol=0)


def test_what_was_done_is_told(network, tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": LightningModule("model", nn.DataParallel(network)).state_dict()}, path)
    remarks = load_model(NAME, weights=path, labels=CLASSES).remarks
    assert remarks == (
        "weights taken from 'state_dict'",
        "'module.' stripped from the names",
        "'model.' stripped from the names",
        "left out: criterion.weight",
    )
    torch.save(network.state_dict(), path)
    assert load_model(NAME, weights=path, labels=CLASSES).remarks == ()


def test_an_ema_is_taken_only_when_asked(network, tmp_path):
    path, average = tmp_path / "model.pth", AveragedModel(network)
    for value in average.module.parameters():
        value.data += 1
    torch.save({"model": network.state_dict(), "model_ema": average.state_dict()}, path)
    key = "classifier.3.bias"
    raw = load_model(NAME, weights=path, labels=CLASSES)
    assert_close(raw.network.state_dict()[key], network.state_dict()[key])
    assert any("--ema takes that" in remark for remark in raw.remarks)
    ema = load_model(NAME, weights=path, labels=CLASSES, ema=True)
    assert_close(ema.network.state_dict()[key], network.state_dict()[key] + 1)
    torch.save(network.state_dict(), path)
    with pytest.raises(ModelError, match="holds no EMA"):
        load_model(NAME, weights=path, labels=CLASSES, ema=True)


def test_other_numbers_of_classes_need_names(network, tmp_path):
    path = tmp_path / "model.pth"
    torch.save(network.state_dict(), path)
    for labels, known in ((None, "1,000"), (("ant", "bee"), 2)):
        with pytest.raises(ModelError, match=f"has 3 classes, and {known} names? known") as caught:
            load_model(NAME, weights=path, labels=labels)
        assert (caught.value.exit_code, "--labels FILE" in caught.value.hint) == (ExitCode.MODEL, True)


def test_another_networks_weights_name_the_first_differing_keys(network, tmp_path):
    torch.save({"state_dict": nn.DataParallel(network).state_dict()}, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"the weights don't fit 'resnet18': conv1\.weight is missing; .* more"):
        load_model("resnet18", weights=tmp_path / "model.pth")


def test_googlenet_as_the_tutorial_leaves_it(tmp_path):
    """Loaded with weights, torchvision takes off the second outputs, and people save what is left."""
    theirs = torchvision.models.googlenet(
        weights=None, aux_logits=False, transform_input=True, init_weights=False
    ).eval()
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    model = load_model("googlenet", weights=tmp_path / "model.pth")
    images_BCHW = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert_close(model.network(images_BCHW), theirs(images_BCHW), rtol=0, atol=1e-5)


def test_two_networks_in_one_file_are_refused(network):
    state = network.state_dict()
    both = {f"{name}.{key}": value for name in ("model", "net") for key, value in state.items()}
    with pytest.raises(ModelError, match="holds several networks: net, model"):
        fit_names(FoundWeights(both), list(state))
    twice = {**state, **{f"module.{key}": value for key, value in state.items()}}
    with pytest.raises(ModelError, match=r"holds 'features\.0\.0\.weight' twice"):
        fit_names(FoundWeights(twice), list(state))


def test_a_networks_own_name_is_no_prefix():
    expected = ["backbone.weight", "module.weight"]
    state = {name: torch.ones(1) for name in expected}
    assert fit_names(FoundWeights(state), expected) == FoundWeights(state)


def test_version_of_the_layout_is_kept():
    network = nn.Sequential(nn.BatchNorm1d(2))
    for one in (network, nn.DataParallel(network), LightningModule("model", network)):
        found = fit_names(state_dict_of(one.state_dict(), HERE), list(network.state_dict()))
        assert found.tensors._metadata[""] == {"version": 1}
        assert found.tensors._metadata["0"] == {"version": 2}


@pytest.mark.parametrize("content", [{}, [], None, torch.ones(1), {"a": 1}, {"state_dict": {}}, {"epoch": 3}], ids=str)
def test_no_state_dict(content):
    with pytest.raises(ModelError, match=r"file\.pth holds no state_dict"):
        state_dict_of(content, HERE)


ODD = {
    "complex": torch.ones(3, dtype=torch.complex64),
    "sparse": torch.eye(3).to_sparse(),
    "meta": torch.ones(3, device="meta"),
    "a million times itself": torch.ones(1).expand(1000, 1000),
}


@pytest.mark.parametrize("tensor", ODD.values(), ids=ODD)
def test_tensors_that_no_layer_has(network, tensor, tmp_path):
    torch.save({**network.state_dict(), "classifier.3.bias": tensor}, tmp_path / "model.pth")
    with pytest.raises(ModelError, match=r"classifier\.3\.bias is a|can't be read|could run code"):
        load_model(NAME, weights=tmp_path / "model.pth", labels=CLASSES)


def test_odd_strides_are_put_right(network, tmp_path):
    state = dict(network.state_dict())
    key = "classifier.0.weight"
    state[key] = state[key].t().contiguous().t()
    torch.save(state, tmp_path / "model.pth")
    model = load_model(NAME, weights=tmp_path / "model.pth", labels=CLASSES)
    assert model.network.state_dict()[key].is_contiguous()
    assert_close(model.network.state_dict()[key], network.state_dict()[key], rtol=0, atol=0)


def test_code_beside_the_weights_never_runs(network, tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "proof",))

    args = argparse.Namespace(model=NAME, callback=Evil())
    torch.save({"state_dict": network.state_dict(), "args": args}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="could run code"):
        load_state_dict(tmp_path / "evil.pth")
    assert not (tmp_path / "proof").exists()
