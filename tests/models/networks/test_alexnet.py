"""Our copy of AlexNet against torchvision's."""

import torch
import torchvision.models
from torch.testing import assert_close

from imgcls.host.tensor_files import load_tensors
from imgcls.models.building import build_with_weights
from imgcls.models.families.torchvision import ALEXNET
from imgcls.models.families.torchvision_weights import catalogue_entry
from imgcls.models.networks.alexnet import AlexNet


def test_same_names_and_shapes():
    with torch.device("meta"):
        ours, theirs = AlexNet(), torchvision.models.alexnet()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        assert ours.state_dict()[name].shape == tensor.shape, name
    assert [type(m).__name__ for m in ours.modules()] == [type(m).__name__ for m in theirs.modules()]


def test_same_logits(alexnet_weights):
    weights = load_tensors(alexnet_weights)
    with torch.device("meta"):
        theirs = torchvision.models.alexnet().eval()
    theirs.load_state_dict(weights, assign=True)
    ours = build_with_weights("alexnet", num_classes=1000, weights=weights)
    images_BCHW = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits_BK = theirs(images_BCHW)
        assert_close(ours(images_BCHW), logits_BK, rtol=0, atol=1e-6)
    assert logits_BK.std() > 0.5, "logits that are all alike would prove little"


def test_small_images_and_few_classes():
    assert AlexNet(7).eval()(torch.zeros(1, 3, 63, 63)).shape == (1, 7)


def test_entry_is_the_catalogues():
    assert catalogue_entry("alexnet") == ALEXNET
