"""Test-time augmentation: the network classifies several views of each image, and their logits are averaged.

The softmax of the mean of the logits is the geometric mean of the probabilities of the views, scaled to add up to 1.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from collections.abc import Iterator
from enum import StrEnum

from torch import Tensor, nn
from torch.nn.functional import pad

from imgcls.errors import ConfigError
from imgcls.images.views import shift_px

# Reflecting a border needs an image that is larger than it.
SMALLEST_PX = 2


class TestTimeAugmentation(StrEnum):
    """Which views of each image the network classifies.

    Source: horizontal flips as in Krizhevsky et al. 2012, section 4.1 (there with softmax outputs); flips with shifts,
    and averaging logits, as the published records on CIFAR-10 do it (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a
    single GPU"): half of the weight for the image and its horizontal flip, half for both of them moved by a pixel
    towards either end of the diagonal.
    """

    FLIP = "flip"
    FLIP_SHIFT = "flip+shift"

    # pytest takes every class of this name for a collection of tests.
    __test__ = False

    @property
    def num_views(self) -> int:
        """Forward passes per image."""
        return 2 if self is TestTimeAugmentation.FLIP else 6


def averaged_logits(network: nn.Module, input_BCHW: Tensor, tta: TestTimeAugmentation | None) -> Tensor:
    """The mean of the network's logits over the views of each image.

    Args:
        network: in eval mode.
        input_BCHW: normalised, float.
        tta: None for the images alone.
    Returns:
        Float, shape (batch, num_classes); in float32 where several are averaged.
    Raises:
        ConfigError: the images are too small to be shifted.
    """
    if tta is None:
        logits_BK: Tensor = network(input_BCHW)
        return logits_BK
    mean_BK: Tensor | None = None
    for view_BCHW, weight in _views(input_BCHW, tta):
        part_BK = network(view_BCHW).float() * weight
        mean_BK = part_BK if mean_BK is None else mean_BK + part_BK
    assert mean_BK is not None
    return mean_BK


def _views(input_BCHW: Tensor, tta: TestTimeAugmentation) -> Iterator[tuple[Tensor, float]]:
    """Each view with its weight in the mean; one after the other, so that memory holds only one of them."""
    height, width = input_BCHW.shape[2:]
    for flipped in (False, True):
        view_BCHW = input_BCHW.flip(-1) if flipped else input_BCHW
        if tta is TestTimeAugmentation.FLIP:
            yield view_BCHW, 1 / 2
            continue
        if min(height, width) < SMALLEST_PX:
            raise ConfigError(f"images of {height} x {width} pixels can't be shifted", hint="--tta flip")
        yield view_BCHW, 1 / 4
        shift = shift_px(height)
        padded_BCHW = pad(view_BCHW, (shift,) * 4, mode="reflect")
        for start in (0, 2 * shift):
            yield padded_BCHW[:, :, start : start + height, start : start + width], 1 / 8
