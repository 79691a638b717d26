"""Networks built with weights, against those that torchvision's own builders make of the same file."""

import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import torchvision.models
from torch import nn
from torch.testing import assert_close

from imgcls.errors import ExitCode, ModelError
from imgcls.host.tensor_files import load_tensors
from imgcls.models.building import _Unallocated, build_from_state, build_network, build_with_weights
from imgcls.models.families.torchvision import Torchvision
from imgcls.models.networks.mlp import MLP
from imgcls.models.registry import pretrained_entry
from imgcls.models.weights.state_dicts import state_dict_of
from imgcls.models.weights.weights_cache import weights_path

# Small ones, and those with peculiarities; the size is the smallest that the network takes with ease.
COMPARED = [
    ("googlenet", 64),
    ("mobilenet_v3_small", 64),
    ("squeezenet1_1", 64),
    ("swin_v2_t", None),
    pytest.param("densenet121", 64, marks=pytest.mark.slow),
    pytest.param("inception_v3", 96, marks=pytest.mark.slow),
    pytest.param("mnasnet0_5", 64, marks=pytest.mark.slow),
    pytest.param("regnet_x_400mf", 64, marks=pytest.mark.slow),
    pytest.param("swin_v2_t", 64, marks=pytest.mark.slow),
]


def published(name: str) -> Path:
    """Random weights, saved where torchvision will look for the real ones."""
    generator = torch.Generator().manual_seed(len(name))
    with _Unallocated():
        state = build_network(name, num_classes=1000).state_dict()
    for key, tensor in state.items():
        if tensor.is_floating_point() and (tensor.is_meta or tensor.ndim == 1):
            fan_in = max(tensor.shape[1:].numel(), 1)
            state[key] = torch.randn(tensor.shape, generator=generator) / fan_in**0.5
        if key.endswith("running_var"):
            state[key].abs_().add_(0.5)
    path = weights_path(pretrained_entry(name))
    path.parent.mkdir(parents=True)
    torch.save(state, path)
    return path


def all_tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(network.named_parameters()), **dict(network.named_buffers())}


@pytest.mark.parametrize(("name", "image_px"), COMPARED)
def test_equals_torchvisions_own_builder(name, image_px):
    path = published(name)
    theirs = torchvision.models.get_model(name, weights="DEFAULT", progress=False).eval()
    weights = state_dict_of(load_tensors(path), path)
    ours, _remarks = build_from_state(name, weights, source=path)
    path.unlink()
    assert not any(module.training for module in ours.modules())
    # Buffers that are in no state_dict are among these.
    assert_close(all_tensors(ours), all_tensors(Torchvision().for_answers(theirs)), rtol=0, atol=0)
    if image_px:
        images_BCHW = torch.randn(2, 3, image_px, image_px)
        with torch.inference_mode():
            logits_BK = ours(images_BCHW)
            assert isinstance(logits_BK, torch.Tensor)
            assert_close(logits_BK, theirs(images_BCHW), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["mnasnet0_5", "mobilenet_v3_small"])
def test_plain_dictionary_of_todays_names(name):
    network = build_network(name, num_classes=4).eval()
    built = build_with_weights(name, num_classes=4, weights=dict(network.state_dict()))
    images_BCHW = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert_close(built(images_BCHW), network(images_BCHW), rtol=0, atol=1e-6)


def test_file_from_before_2018():
    """Old names in DenseNets, no counters in batch norms, no version of the layout."""
    network = build_network("densenet121", num_classes=1000).eval()
    today = network.state_dict()
    old = OrderedDict(
        (re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key), value)
        for key, value in today.items()
        if not key.endswith("num_batches_tracked")
    )
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    built, _remarks = build_from_state("densenet121", state_dict_of(old, Path("old.pth")), source=Path("old.pth"))
    assert_close(built.state_dict(), today, rtol=0, atol=0)


def test_vision_transformer_of_the_published_layout():
    """torchvision's files name the linear layers of the MLP blocks as they were called before version 2."""
    network = build_network("vit_b_32", num_classes=3, arguments={"image_size": 32}).eval()
    old = OrderedDict(
        (key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."), value)
        for key, value in network.state_dict().items()
    )
    assert "encoder.layers.encoder_layer_0.mlp.linear_1.weight" in old
    built = build_with_weights("vit_b_32", num_classes=3, weights=old, arguments={"image_size": 32})
    assert_close(built.state_dict(), network.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_result_is_float32(dtype):
    network = MLP(3, image_px=4, hidden=(5,))
    weights = {key: value.to(dtype) for key, value in network.state_dict().items()}
    built = build_with_weights("mlp", num_classes=3, weights=weights, arguments={"image_px": 4, "hidden": [5]})
    assert {parameter.dtype for parameter in built.parameters()} == {torch.float32}
    assert_close(built.state_dict()["layers.1.bias"], weights["layers.1.bias"].float(), rtol=0, atol=0)


def test_no_random_numbers_are_drawn():
    weights = MLP(3, image_px=4).state_dict()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    build_with_weights("mlp", num_classes=3, weights=weights, arguments={"image_px": 4})
    assert torch.equal(torch.get_rng_state(), before)


def mlp_weights(**changes):
    weights = dict(MLP(3, image_px=2, hidden=(4,)).state_dict())
    return {key: value for key, value in {**weights, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers.1.bias": None}, r"layers\.1\.bias is missing$"),
        ({"extra": torch.ones(1)}, "extra is unexpected$"),
        ({"layers.1.bias": torch.ones(5)}, r"layers\.1\.bias has shape \(5,\), not \(4,\)$"),
        ({"layers.1.bias": torch.ones(())}, r"layers\.1\.bias has shape \(\), not \(4,\)$"),
        ({f"extra{n}": torch.ones(1) for n in range(7)}, "extra0 is unexpected; extra1 .*; extra2 .*; and 4 more$"),
        ({"layers.3.weight": None, "x": torch.ones(1), "layers.3.bias": torch.ones(9)}, "missing; x .*; .* has"),
    ],
    ids=str,
)  # fmt: skip
def test_differences_are_named(changes, said):
    with pytest.raises(ModelError, match="the weights don't fit 'mlp': .*" + said) as caught:
        build_with_weights(
            "mlp", num_classes=3, weights=mlp_weights(**changes), arguments={"image_px": 2, "hidden": [4]}
        )
    assert caught.value.exit_code == ExitCode.MODEL


def test_weights_of_another_network(alexnet_weights):
    with pytest.raises(ModelError, match=r"don't fit 'resnet18': conv1\.weight is missing; .*; and \d+ more"):
        build_with_weights("resnet18", num_classes=1000, weights=load_tensors(alexnet_weights))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mlp", {"hidden": "wide"}),
        ("mlp", {"hidden": [-3]}),
        ("mlp", {"hiden": [3]}),
        ("resnet18", {"colour": True}),
        ("nothing", {}),
        ("", {}),
    ],
)
def test_cannot_be_built(name, arguments):
    with pytest.raises(ModelError) as caught:
        build_network(name, num_classes=3, arguments=arguments)
    assert repr(name) in caught.value.message
    assert caught.value.hint


def test_mlp():
    network = build_network("mlp", num_classes=10)
    # The classic: 3072-512-512-10.
    assert [m.out_features for m in network.modules() if isinstance(m, nn.Linear)] == [512, 512, 10]
    assert sum(p.numel() for p in network.parameters()) == 3072 * 512 + 512 + 512 * 512 + 512 + 512 * 10 + 10
    assert network(torch.zeros(4, 3, 32, 32)).shape == (4, 10)
    small = build_network("mlp", num_classes=2, arguments={"image_px": 1, "hidden": []})
    with torch.no_grad():
        small.layers[1].weight.copy_(torch.tensor([[1.0, 2, 3], [0, 0, -1]]))
        small.layers[1].bias.copy_(torch.tensor([0.5, 0]))
    assert small(torch.tensor([1.0, 1, 2]).view(1, 3, 1, 1)).tolist() == [[9.5, -2]]
