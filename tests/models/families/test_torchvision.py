"""Every classifier of torchvision's catalogue."""

import re
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.models
from PIL import Image
from torch.testing import assert_close
from torchvision.models import WeightsEnum

from imgcls.errors import ExitCode, ModelError
from imgcls.images.transform import Transform
from imgcls.models.building import _Unallocated
from imgcls.models.families.torchvision import Torchvision
from imgcls.models.families.torchvision_weights import pretrained_names
from imgcls.models.weights.weights_cache import digits_in_name

TORCHVISION = Torchvision()
NAMES = pretrained_names()
# One of every family, as each takes a moment to build; `slow` tries them all.
FAMILIES = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_128gf", "resnet18",
    "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_16",
    "vit_h_14", "wide_resnet50_2",
]  # fmt: skip
ONE_OF_EACH = [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def plain_values(module: torch.nn.Module) -> dict[str, Any]:
    return {key: value for key, value in vars(module).items() if isinstance(value, bool | int | float | str)}


def test_names():
    assert {"alexnet", "resnet50", "vit_b_16"} <= set(NAMES)
    assert sorted(NAMES) == NAMES
    assert len(NAMES) >= 80
    assert set(FAMILIES) <= set(NAMES)
    assert TORCHVISION.knows("alexnet")
    assert TORCHVISION.knows("resnet18")
    # Neither detectors, nor quantised networks, nor ours.
    assert not any(map(TORCHVISION.knows, ["fasterrcnn_resnet50_fpn", "quantized_resnet18", "mlp", "cnn", "", "x/y"]))


@pytest.mark.parametrize("name", NAMES)
def test_entry(name):
    entry = TORCHVISION.entry(name)
    assert entry.name == name
    assert entry.url.startswith("https://")
    assert re.fullmatch(r"[\w.-]+\.pth", entry.url.rpartition("/")[2])
    assert len(digits_in_name(entry.url.rpartition("/")[2])) >= 8
    assert 0.5 < entry.top1 < entry.top5 < 1
    # GoogLeNet's file also holds the auxiliary heads, which its number of parameters leaves out.
    if name != "googlenet":
        assert entry.num_params * 4 / 2**20 == pytest.approx(entry.size_mib, rel=0.1)
    assert Transform.from_dict(entry.transform.to_dict()) == entry.transform


@pytest.mark.parametrize("name", NAMES)
def test_transform_is_the_presets(name):
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    transform = TORCHVISION.entry(name).transform
    pixels = np.random.default_rng(3).integers(0, 256, (19, 23, 3), dtype=np.uint8)
    # As large as the resize asks for, so that only the crop and the arithmetic are left to compare, and a small one.
    for image in (
        Image.fromarray(pixels).resize((transform.resize_px + 1, transform.resize_px)),
        Image.fromarray(pixels),
    ):
        images_BCHW = torch.from_numpy(transform.crop(image).copy()).permute(2, 0, 1)[None]
        assert_close(transform.normalise(images_BCHW)[0], preset(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_built_as_torchvision_builds_it_for_its_weights(monkeypatch, name):
    # torchvision's builder runs to the end, only that no weights are fetched and put in.
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_args, **_kwargs: {})
    monkeypatch.setattr(torch.nn.Module, "load_state_dict", lambda *_args, **_kwargs: None)
    with _Unallocated():
        theirs = torchvision.models.get_model(name, weights="DEFAULT")
        ours = TORCHVISION.build(name, num_classes=1000, arguments={})
    unallocated = {key for key, tensor in (*ours.named_parameters(), *ours.named_buffers()) if tensor.is_meta}
    assert unallocated <= set(ours.state_dict()), "nothing would ever fill these"
    if name != "googlenet":
        assert sum(parameter.numel() for parameter in ours.parameters()) == TORCHVISION.entry(name).num_params
    if name != "alexnet":
        # For GoogLeNet torchvision does it itself.
        ours, theirs = TORCHVISION.for_answers(ours), TORCHVISION.for_answers(theirs)
        assert plain_values(ours) == plain_values(theirs)
    assert {key: tensor.shape for key, tensor in ours.state_dict().items()} == {
        key: tensor.shape for key, tensor in theirs.state_dict().items()
    }


@pytest.mark.parametrize("name", ["resnet17", "fasterrcnn_resnet50_fpn", ""])
def test_unknown_name(name):
    with pytest.raises(ModelError, match=f"{name!r}") as caught:
        TORCHVISION.entry(name)
    assert caught.value.exit_code == ExitCode.MODEL
    with pytest.raises(ModelError, match=f"{name!r}"):
        TORCHVISION.build(name, num_classes=1000, arguments={})


def test_unknown_argument():
    with pytest.raises(ModelError, match="can't build 'resnet18'"):
        TORCHVISION.build("resnet18", num_classes=2, arguments={"no_such_argument": 1})


def test_old_names_of_densenets():
    prefix = "features.denseblock1.denselayer2."
    assert TORCHVISION.current_name(f"{prefix}norm.1.running_mean") == f"{prefix}norm1.running_mean"
    assert TORCHVISION.current_name(f"{prefix}conv.2.weight") == f"{prefix}conv2.weight"
    for name in (f"{prefix}conv2.weight", "features.norm.1.weight", "classifier.1.weight", "layer1.0.conv1.weight"):
        assert TORCHVISION.current_name(name) == name
