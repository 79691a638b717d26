"""torchvision's random transforms, each image with draws of its own.

torchvision draws once a call, so that a whole batch would be turned by one angle; here each image is a call. That
costs some tenths of a millisecond an image of 32 pixels, and milliseconds at 224: more than a small network's step.
All of them draw from torch's global generator on the CPU, whatever the device.

Shapes: B batch, C channels (3), H height, W width.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

Policy = Literal["off", "randaugment", "trivialaugment"]
# Bytes of one image, (3, height, width), to bytes.
ImageTransform = Callable[[Tensor], Tensor]


def random_crop(size_px: tuple[int, int], *, smallest: float) -> ImageTransform:
    """A rectangle of at least that share of the image's area, resized to a height and width.

    Source: torchvision.transforms.v2.RandomResizedCrop; Szegedy et al. 2015, section 6.
    """
    from torchvision.transforms import v2

    crop: ImageTransform = v2.RandomResizedCrop(size_px, scale=(smallest, 1.0), antialias=True)
    return crop


def policy_transform(policy: Policy, *, num_ops: int, magnitude: int, fill: tuple[int, int, int]) -> ImageTransform:
    """Colours, contrast, turns and shears at random.

    Args:
        policy: RandAugment (Cubuk et al. 2019) or TrivialAugmentWide (Mueller and Hutter 2021), which has no settings.
        num_ops: changes of an image, of RandAugment.
        magnitude: their strength, 0 to 30, of RandAugment.
        fill: red, green and blue of what a turn brings in.
    """
    from torchvision.transforms import v2

    how: dict[str, Any] = {"interpolation": v2.InterpolationMode.BILINEAR, "fill": list(fill)}
    transform: ImageTransform
    if policy == "randaugment":
        transform = v2.RandAugment(num_ops=num_ops, magnitude=magnitude, **how)
    elif policy == "trivialaugment":
        transform = v2.TrivialAugmentWide(**how)
    else:
        raise ValueError(f"no policy: {policy}")
    return transform


def erasing(probability: float, *, fill: tuple[int, int, int]) -> ImageTransform:
    """A rectangle painted over, of 2 to 33 % of the area, with that probability.

    Source: torchvision.transforms.v2.RandomErasing; Zhong et al. 2017.
    """
    from torchvision.transforms import v2

    erase: ImageTransform = v2.RandomErasing(p=probability, value=fill)
    return erase


def each(transform: ImageTransform, images_BCHW: Tensor) -> Tensor:
    """Change every image of a batch by a call of its own."""
    return torch.stack([transform(image_CHW) for image_CHW in images_BCHW])
