"""Whether a graph that holds its transform answers as the model does behind Pillow, on images of every size."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from imgcls.errors import ImageError, ModelError
from imgcls.export.parity import Outputs, Parity, compare
from imgcls.export.sample_images import drawn_images, folder_paths
from imgcls.images import time_limit
from imgcls.images.decoding import decode_image
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.models.loaded_model import LoadedModel

# On enough images to tell; on fewer a single close call would decide.
LEAST_AGREEMENT, ENOUGH = 0.995, 200
MOST_DIFFERENCE = 0.05
# Larger ones take seconds each, and show nothing that these don't.
MOST_PIXELS = 16_000_000
# The drawn scenes in these sizes too: wide, tall, smaller than any input, and square.
SIZES = ((640, 360), (300, 451), (50, 37), (224, 224))
HELD_AT_ONCE = 8


def check_transform(model: LoadedModel, own: Outputs, run: Callable[[Pixels], Floats], folder: Path | None) -> Parity:
    """Compare answers for whole images.

    Args:
        model: that was exported.
        own: its answers for crops that Pillow made.
        run: the file's, for decoded images, uint8 (1, height, width, 3), as logits (1, K).
        folder: images beside the drawn ones.
    Raises:
        ModelError: they differ by more than the rounding of the resize explains; the file isn't to be kept.
    """
    expected, found = [], []
    for image in _images(model.transform, folder):
        expected.append(own(np.array(model.transform.crop(image)[None])))
        found.append(run(np.asarray(image)[None]))
    several = model.multi_label is not None
    parity = compare(np.concatenate(expected), np.concatenate(found), is_multi_label=several)
    is_many = parity.num_images >= ENOUGH
    if (is_many and parity.top1 < LEAST_AGREEMENT) or (not is_many and parity.largest_difference > MOST_DIFFERENCE):
        raise ModelError(
            f"with the transform in the graph {parity.top1:.2%} of {parity.num_images} images get the same class, and "
            f"probabilities differ by up to {parity.largest_difference:.2g}; it was not kept",
            hint="leave out --with-transform, and report it",
        )
    return parity


def _images(transform: Transform, folder: Path | None) -> Iterator[Image.Image]:
    drawn = drawn_images()
    yield from drawn
    for size, image in zip(SIZES, drawn, strict=False):
        yield image.resize(size)
    if folder is None:
        return

    def decode(path: Path) -> Image.Image | None:
        try:
            return decode_image(
                path,
                max_pixels=MOST_PIXELS,
                background_rgb=transform.background_rgb,
                depth_bits=transform.depth_bits,
                accepts_truncated=transform.accepts_truncated,
            ).image
        except ImageError:
            return None

    paths = folder_paths(folder)
    for start in range(0, len(paths), HELD_AT_ONCE):
        some = paths[start : start + HELD_AT_ONCE]
        for made in time_limit.map_within(decode, some, time_limit.IMAGE_LIMIT_SEC):
            if isinstance(made, Image.Image):
                yield made
