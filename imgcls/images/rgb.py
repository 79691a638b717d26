"""An opened image as an upright RGB one."""

from PIL import Image

from imgcls.images.grey_levels import DEEP_MODES, grey_to_bytes
from imgcls.images.transform_values import RGB

ORIENTATION_TAG = 0x0112
# The orientations that exchange width and height.
SIDEWAYS = (5, 6, 7, 8)
# What makes an image upright whose camera wrote it so (EXIF 2.3, tag 274).
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation."""
    return turned(image, orientation_of(image))


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Apply one of EXIF's orientations; a number that means nothing leaves the image as it is."""
    method = TURNS.get(orientation)
    return image if method is None else image.transpose(method)


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; a damaged EXIF block, or a number that means nothing, counts as 1 (upright)."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


def to_rgb(image: Image.Image, *, depth_bits: int | None = None, background_rgb: RGB | None = None) -> Image.Image:
    """Convert to RGB as Pillow does, except that deep grey pixels are scaled instead of clipped; see `grey_levels`.

    Args:
        image: of any mode.
        depth_bits: of deep grey integers, where the file says too many.
        background_rgb: what lies behind a transparent image; None for the colours below the transparency.
    """
    if image.mode in DEEP_MODES:
        return grey_to_bytes(image, depth_bits=depth_bits).convert("RGB")
    if background_rgb is not None and image.has_transparency_data:
        rgba = image.convert("RGBA")
        behind = Image.new("RGBA", rgba.size, (*background_rgb, 255))
        return Image.alpha_composite(behind, rgba).convert("RGB")
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        # The same colours as directly, without Pillow's warning that transparency gets lost.
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")
