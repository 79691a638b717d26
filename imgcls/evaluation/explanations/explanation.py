"""A heat map over an image, and where in the image it lies.

Shapes: h, w places of a map (fewer than pixels).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from imgcls.images.transform import Transform

HeatValues = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Explanation:
    """What speaks for one class in one image.

    Attributes:
        class_id: index of the class.
        values_hw: over what the network saw, from 0 (nothing, or against the class) to 1 (the most); all 0 where
            nothing speaks for it.
        method: in words, such as `Grad-CAM (features.8)`.
    """

    class_id: int
    values_hw: HeatValues
    method: str


class Frame(NamedTuple):
    """The part of an image that a network sees, as shares of the image's width and height.

    It may reach beyond the image, where the transform adds borders.
    """

    left: float
    top: float
    width: float
    height: float


def frame_of(transform: Transform, width: int, height: int) -> Frame:
    """The part of an image of this size that a transform keeps.

    Args:
        transform: its geometry.
        width: of the upright image, in pixels.
        height: likewise.
    """
    resized_width, resized_height = transform.resized_size(width, height)
    crop_height, crop_width = transform.size_px
    share_x, share_y = crop_width / resized_width, crop_height / resized_height
    return Frame((1 - share_x) / 2, (1 - share_y) / 2, share_x, share_y)


def scaled(values_hw: HeatValues) -> HeatValues:
    """What is positive, so that the most is 1; all 0 where nothing is."""
    positive_hw = np.maximum(np.nan_to_num(values_hw), 0).astype(np.float32)
    most = float(positive_hw.max(initial=0.0))
    return positive_hw / np.float32(most) if most > 0 else positive_hw
