"""Exported graphs that hold their transform, and take decoded RGB bytes of any size.

Whatever answers here prepares images with Pillow, as for any other model. A graph leaves an image alone that has the
size after the resize already: so each crop goes in on a canvas of that size, where the graph's own crop finds it.

Shapes: B batch, H height, W width, C channels (1 or 3).
"""

import numpy as np

from imgcls.images.transform import Floats, Pixels, Transform, crop_start


def on_canvas(transform: Transform, crops_BHWC: Pixels) -> Pixels:
    """Crops as images whose resize changes nothing, and whose crop they are.

    Args:
        transform: of the model.
        crops_BHWC: uint8, shape (batch, *transform.size_px, 3), red, green and blue.
    Returns:
        uint8, shape (batch, height, width, 3), of the size after the resize.
    """
    box_height, box_width = transform.scaled_size(transform.resize_px)
    (crop_height, crop_width) = transform.size_px
    top, left = crop_start(box_height, crop_height), crop_start(box_width, crop_width)
    # Where the crop is larger than the image, the graph makes the border anew.
    inner = crops_BHWC[:, max(-top, 0) : max(-top, 0) + box_height, max(-left, 0) : max(-left, 0) + box_width]
    canvas_BHWC = np.zeros((len(crops_BHWC), box_height, box_width, 3), dtype=np.uint8)
    top, left = max(top, 0), max(left, 0)
    canvas_BHWC[:, top : top + inner.shape[1], left : left + inner.shape[2]] = inner
    return canvas_BHWC


def normalised_to_pixels(transform: Transform, images_BCHW: Floats) -> Pixels:
    """The bytes that were normalised, as red, green and blue, shape (batch, height, width, 3)."""
    mean, std = (np.asarray(each, np.float32).reshape(-1, 1, 1) for each in (transform.mean, transform.std))
    values: Floats = (images_BCHW * std + mean) * np.float32(255 if transform.scale == 1 else 1)
    pixels_BHWC = np.rint(values).clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    if transform.channels == "bgr":
        pixels_BHWC = pixels_BHWC[..., ::-1]
    return np.ascontiguousarray(np.broadcast_to(pixels_BHWC, (*pixels_BHWC.shape[:3], 3)))
