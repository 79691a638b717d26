"""The views of an image that test-time augmentation averages, as pixels.

Shapes: B batch, H height, W width, C channels.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from imgcls.images.transform import Pixels

Views = Literal["flip", "flip+shift"]
# One of CIFAR-10's 32 pixels, and the same fraction of larger images: one pixel of 224 would change nothing.
SHIFT_SHARE = 1 / 32


def shift_px(side_px: int) -> int:
    """By how many pixels the shifted views are moved: 1/32 of the side, and at least 1."""
    return max(1, round(side_px * SHIFT_SHARE))


def views_of(images_BHWC: Pixels, views: Views) -> Iterator[tuple[Pixels, float]]:
    """Each view with its weight in the mean of the logits; the weights add up to 1.

    Args:
        images_BHWC: uint8, each side of at least 2 pixels.
        views: `flip`, or `flip+shift`: half of the weight for the image and its horizontal flip, half for both of them
            moved towards either end of the diagonal.
    """
    height, width = images_BHWC.shape[1:3]
    for flipped in (False, True):
        view_BHWC = np.ascontiguousarray(images_BHWC[:, :, ::-1]) if flipped else images_BHWC
        if views == "flip":
            yield view_BHWC, 1 / 2
            continue
        yield view_BHWC, 1 / 4
        shift = shift_px(height)
        padded_BHWC = np.pad(view_BHWC, ((0, 0), (shift, shift), (shift, shift), (0, 0)), mode="reflect")
        for start in (0, 2 * shift):
            moved_BHWC = padded_BHWC[:, start : start + height, start : start + width]
            yield np.ascontiguousarray(moved_BHWC), 1 / 8
