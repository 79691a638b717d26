"""Images to compare answers on: some that are drawn here, and a folder's.

Shapes: N images, H height, W width, C channels (3).
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from imgcls.errors import DataError, ImageError
from imgcls.images import time_limit
from imgcls.images.cropping import cropped_image, decode_options
from imgcls.images.inputs.sources import iterate_sources
from imgcls.images.transform import Pixels, Transform

DRAWN_SIZE = (320, 240)
# Enough to show a difference in a thousand answers, and no wait worth mentioning.
MOST_IMAGES = 512


def drawn_pixels(transform: Transform) -> Pixels:
    """Eight scenes with edges, gradients and textures, always the same, shape (8, crop, crop, 3).

    Noise alone would do less: it leaves a network near one and the same answer.
    """
    return np.stack([transform.crop(image) for image in drawn_images()])


def drawn_images() -> list[Image.Image]:
    """The same scenes as images."""
    return list(_drawn())


def folder_pixels(folder: Path, transform: Transform, *, most: int = MOST_IMAGES) -> Pixels:
    """Images of a folder, spread evenly over it, shape (N, crop, crop, 3); files that can't be read are passed over.

    Args:
        folder: searched recursively.
        transform: its geometry brings every image to one size.
        most: how many images at most.
    Raises:
        DataError: no such folder, or no readable image in it.
    """
    options = decode_options(transform)

    def crop(path: Path) -> Pixels | None:
        try:
            return cropped_image(path, transform, options).pixels_HWC
        except ImageError:
            return None

    found = time_limit.map_within(crop, folder_paths(folder, most=most), time_limit.IMAGE_LIMIT_SEC)
    pixels = [each for each in found if isinstance(each, np.ndarray)]
    if not pixels:
        raise DataError(f"no image in {folder} can be read", hint="name a folder of images: --calibrate DIR")
    return np.stack(pixels)


def folder_paths(folder: Path, *, most: int = MOST_IMAGES) -> list[Path]:
    """Files of a folder, spread evenly over it.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}", hint="name a folder of images: --calibrate DIR")
    paths = [source.path for source in iterate_sources([str(folder)]) if source.path is not None]
    return paths[:: max(math.ceil(len(paths) / most), 1)]


def hold_out(images_NHWC: Pixels, *, most: int) -> tuple[Pixels, Pixels]:
    """Split images into those that may shape a model and those that judge it; of equal images one counts.

    Args:
        images_NHWC: spread evenly over what they stand for.
        most: how many may shape it; never more than half.
    Returns:
        The first and the second kind; the second is empty where all images are the same.
    """
    # numpy's `unique` takes rows of a few thousand values at most, and an image has 150,528.
    first: dict[bytes, int] = {}
    for index, image in enumerate(images_NHWC):
        first.setdefault(hashlib.sha256(image.tobytes()).digest(), index)
    distinct_NHWC = images_NHWC[list(first.values())]
    count = min(most, max(len(distinct_NHWC) // 2, 1))
    shaping = np.linspace(0, len(distinct_NHWC) - 1, count).round().astype(int)
    return distinct_NHWC[shaping], np.delete(distinct_NHWC, shaping, axis=0)


def _drawn() -> Iterator[Image.Image]:
    width, height = DRAWN_SIZE
    y_H1, x_1W = np.mgrid[0:height, 0:1], np.mgrid[0:1, 0:width]
    rows_H1, columns_1W = y_H1[0] / (height - 1), x_1W[1] / (width - 1)
    for turn in range(4):
        # Sky over ground, with a sun, a house and a tree; each time in other colours and places.
        shades = np.stack([rows_H1 * (0.5 + 0.1 * c + 0.1 * turn) + columns_1W * 0.1 * turn for c in range(3)], axis=-1)
        scene = Image.fromarray((255 * np.clip(1 - shades, 0, 1)).astype(np.uint8))
        draw = ImageDraw.Draw(scene)
        draw.rectangle((0, 160 + 10 * turn, width, height), fill=(60 + 40 * turn, 120, 40))
        draw.ellipse((30 + 50 * turn, 20, 90 + 50 * turn, 80), fill=(250, 220 - 40 * turn, 60))
        draw.rectangle((140, 110, 220, 190), fill=(150, 70 + 30 * turn, 60), outline=(20, 20, 20), width=3)
        draw.polygon(((130, 110), (180, 60), (230, 110)), fill=(90, 30, 30 + 50 * turn))
        draw.line((270, 200, 270, 110), fill=(80, 50, 20), width=8)
        draw.ellipse((240, 60, 300, 130), fill=(20, 90 + 30 * turn, 30))
        yield scene.filter(ImageFilter.GaussianBlur(turn))
    for waves in (3, 11):
        angle_HW = waves * (rows_H1 + columns_1W) * math.tau
        ripples = np.stack([np.sin(angle_HW + c) * 0.5 + 0.5 for c in range(3)], axis=-1)
        yield Image.fromarray((255 * ripples).astype(np.uint8))
    squares_HW = ((y_H1[0] // 16 + x_1W[1] // 16) % 2).astype(np.uint8)
    yield Image.fromarray(np.stack([squares_HW * 255, squares_HW * 120, 255 - squares_HW * 255], axis=-1))
    noise_HWC = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    yield Image.fromarray(noise_HWC).resize(DRAWN_SIZE, Image.Resampling.BICUBIC)
