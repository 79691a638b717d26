"""A folder of images with faults of every kind, and features that need no network."""

from pathlib import Path

import numpy as np
from PIL import Image

from imgcls.images.transform import Transform

PX = 48


class PixelFeatures:
    """Features of a real, if poor, kind: the pixels themselves, on a coarse grid."""

    transform = Transform(resize_px=16, crop_px=16, resize="squash")

    def __call__(self, images_BHWC):
        """Each pixel of 8 x 8, less the mean of the image."""
        small = images_BHWC.reshape(len(images_BHWC), 8, 2, 8, 2, 3).mean((2, 4)).reshape(len(images_BHWC), -1)
        return (small - small.mean(axis=1, keepdims=True)).astype(np.float32)


def drawn(seed: int, px: int = PX) -> Image.Image:
    """Smooth shapes that differ from seed to seed, with enough detail to be recognised."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    fine = random.integers(-12, 13, (px, px, 3))
    large = np.asarray(Image.fromarray(coarse).resize((px, px), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((large + fine).clip(0, 255).astype(np.uint8))


def save(image: Image.Image, path: Path, **options: object) -> Path:
    """Write an image, and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path
