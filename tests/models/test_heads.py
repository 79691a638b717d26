"""The last layer of every network: found, replaced, and run alone."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from imgcls.models.building import build_network, build_unallocated
from imgcls.models.families.torchvision_weights import pretrained_names
from imgcls.models.heads import (
    FeatureRecorder,
    HeadNetwork,
    backbone_parameters,
    head_name,
    head_names,
    head_of,
    reorder_head,
)
from imgcls.models.heads import (
    replace_head as replace,
)

# One of every way to end; `slow` tries the whole catalogue.
KINDS = ["alexnet", "densenet121", "maxvit_t", "mobilenet_v3_small", "resnet18", "squeezenet1_1", "swin_t", "vit_b_32"]
NAMES = [name if name in KINDS else pytest.param(name, marks=pytest.mark.slow) for name in pretrained_names()]
WITHOUT_SECOND_OUTPUTS = {"googlenet": {"aux_logits": False}, "inception_v3": {"aux_logits": False}}


def shapes(network):
    return {key: tensor.shape for key, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", ["mlp", "cnn", *NAMES])
def test_the_head_is_what_depends_on_the_number_of_classes(name):
    arguments = WITHOUT_SECOND_OUTPUTS.get(name)
    one, other = (build_unallocated(name, num_classes=num_classes, arguments=arguments) for num_classes in (4, 9))
    shapes_of_other = shapes(other)
    differing = {key for key, shape in shapes(one).items() if shapes_of_other[key] != shape}
    path = head_name(one)
    assert differing == {f"{path}.{key}" for key, _ in head_of(one).named_parameters()}
    backbone = {id(parameter) for parameter in backbone_parameters(one)}
    assert {key for key, parameter in one.named_parameters() if id(parameter) not in backbone} == differing
    before = [key for key in one.state_dict() if key not in differing]
    replace(one, 9)
    assert shapes(one) == shapes_of_other
    assert [key for key in one.state_dict() if key not in differing] == before


@pytest.mark.parametrize(
    ("name", "px"), [("mlp", 32), ("cnn", 16), ("squeezenet1_1", 32), ("mobilenet_v3_small", 32), ("alexnet", 64)]
)
def test_features_through_the_head_are_the_networks_answer(name, px):
    torch.manual_seed(0)
    network = build_network(name, num_classes=4).eval()
    images_BCHW = torch.randn(3, 3, px, px)
    recorder, head = FeatureRecorder(network), HeadNetwork(network)
    with torch.no_grad():
        assert torch.equal(head(recorder(images_BCHW)), network(images_BCHW))
    assert not head_of(network)._forward_pre_hooks
    assert {id(p) for p in head.parameters()} == {id(p) for p in head_of(network).parameters()}


def test_a_new_head_is_initialised_as_torch_does():
    network = build_network("mlp", num_classes=4)
    torch.manual_seed(5)
    replace(network, 3)
    torch.manual_seed(5)
    expected = nn.Linear(512, 3)
    assert_close(head_of(network).state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_outputs_in_another_order():
    network = build_network("mlp", num_classes=4)
    images_BCHW = torch.randn(2, 3, 32, 32)
    before_BK = network(images_BCHW)
    reorder_head(network, [2, 0, 1, 3])
    assert_close(network(images_BCHW), before_BK[:, [2, 0, 1, 3]], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "settings"), [("deit_tiny_distilled_patch16_224", {"img_size": 32, "depth": 1}), ("levit_128s", {})]
)
def test_both_heads_of_a_distilled_network(name, settings):
    pytest.importorskip("timm")
    torch.manual_seed(0)
    network = build_network(f"timm/{name}", num_classes=4, arguments=settings).eval()
    images_BCHW = torch.randn(3, 3, *((32, 32) if settings else (224, 224)))
    first, second = head_names(network)
    for path in (first, second):
        # One that begins with zeros would hide the other's order.
        nn.init.normal_(network.get_submodule(path).weight)
    with torch.no_grad():
        before_BK = network(images_BCHW)
        features = FeatureRecorder(network)(images_BCHW)
        assert features.shape[:2] == (3, 2)
        assert_close(HeadNetwork(network)(features), before_BK, rtol=0, atol=1e-6)
        reorder_head(network, [2, 0, 1, 3])
        assert_close(network(images_BCHW), before_BK[:, [2, 0, 1, 3]], rtol=0, atol=1e-6)
    # A frozen backbone leaves both to be trained.
    backbone = {id(parameter) for parameter in backbone_parameters(network)}
    moved = {key for key, parameter in network.named_parameters() if id(parameter) not in backbone}
    assert moved == {f"{path}.{key}" for path in (first, second) for key in ("weight", "bias")}
    replace(network, 9)
    assert network(images_BCHW).shape == (3, 9)
