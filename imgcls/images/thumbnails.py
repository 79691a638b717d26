"""Small images, for reports and notebooks."""

import io

from PIL import Image

THUMBNAIL_PX = 160


def make_thumbnail(image: Image.Image, side_px: int = THUMBNAIL_PX) -> bytes:
    """A JPEG of at most side_px x side_px, in proportion.

    Args:
        image: mode RGB.
        side_px: of the square that it fits into.
    """
    scale = side_px / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    # reducing_gap averages whole blocks of a large image first: thumbnails need speed, not exactness.
    small = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0) if scale < 1 else image
    encoded = io.BytesIO()
    small.save(encoded, "jpeg", quality=70)
    return encoded.getvalue()
