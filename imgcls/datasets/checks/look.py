"""What one image shows: its measures and a thumbnail.

Shapes: T side of a thumbnail.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageStat

from imgcls.images.transform import Pixels

THUMBNAIL_PX = 32
# What blur and light are measured on: the same scale for all images, and no more work for large ones.
STATISTICS_PX = 256
DIGEST_BYTES = 16
GREY = "L"


class Look(NamedTuple):
    """What one image shows.

    Attributes:
        width, height: in pixels, upright.
        digest: of the decoded pixels and their shape.
        brightness: mean grey, in [0, 255].
        contrast: standard deviation of the grey.
        sharpness: standard deviation of the second differences, over the contrast.
        orientation: EXIF's, 1 where it has none.
        num_bytes: of the file; 0 for CIFAR-10.
        thumbnail: the whole image squashed: uint8, shape (T, T, 3).
    """

    width: int
    height: int
    digest: bytes
    brightness: float
    contrast: float
    sharpness: float
    orientation: int
    num_bytes: int
    thumbnail: Pixels


def look_at(whole: Image.Image, *, orientation: int, num_bytes: int) -> Look:
    """What a decoded image shows.

    Args:
        whole: upright RGB.
        orientation: EXIF's.
        num_bytes: of its file.
    """
    digest = hashlib.blake2b(whole.tobytes(), digest_size=DIGEST_BYTES)
    digest.update(f"{whole.width} {whole.height}".encode())
    grey = whole.convert(GREY)
    grey.thumbnail((STATISTICS_PX, STATISTICS_PX), reducing_gap=2.0)
    statistics = ImageStat.Stat(grey)
    contrast = statistics.stddev[0]
    thumbnail = whole.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return Look(
        width=whole.width,
        height=whole.height,
        digest=digest.digest(),
        brightness=statistics.mean[0],
        contrast=contrast,
        sharpness=_sharpness(grey) / max(contrast, 1.0),
        orientation=orientation,
        num_bytes=num_bytes,
        thumbnail=np.asarray(thumbnail, dtype=np.uint8),
    )


def _sharpness(grey: Image.Image) -> float:
    """Standard deviation of the second differences (the Laplacian), in grey levels."""
    if min(grey.size) < 3:
        return 0.0
    values = np.asarray(grey, dtype=np.float32)
    middle = values[1:-1, 1:-1]
    sides = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float((sides - 4 * middle).std())


def num_bytes_of(path: Path | None) -> int:
    """The size of a file; 0 without one, and where it has gone since."""
    try:
        return 0 if path is None else path.stat().st_size
    except OSError:
        return 0
