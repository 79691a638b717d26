"""From a file's bytes to an upright RGB image, or to the reason why not."""

import errno
import io
import math
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from imgcls.errors import ImageError

# Where Pillow itself gives up: 2 x Image.MAX_IMAGE_PIXELS. Decoded it takes 512 MiB.
DEFAULT_MAX_PIXELS = 178_956_970
ORIENTATION_TAG = 0x0112
# The orientations that exchange width and height.
SIDEWAYS = (5, 6, 7, 8)
# Pillow's names for pixels of 16 bits; it would clip them to 8 bits, not scale them.
MODES_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
# A path that leads nowhere, rather than a file that is damaged.
UNREACHABLE = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ESTALE)
SCALED_MODES = (*MODES_16_BIT, "I", "F")


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """An image ready for a transform.

    Attributes:
        image: mode RGB, upright.
        width, height: in pixels, after the EXIF orientation.
    """

    image: Image.Image
    width: int
    height: int


def decode_image(source: Path | bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, smallest_px: int = 0) -> DecodedImage:
    """Decode an image: EXIF orientation applied, then RGB as Pillow converts it, 16-bit and float pixels scaled.

    Args:
        source: a file, or an encoded image's bytes.
        max_pixels: refuse larger images before decoding them.
        smallest_px: when positive, JPEGs may be scaled while they are decoded, by 2, 4 or 8, as long as the shorter
            side keeps at least this many pixels: several times faster, and the answers shift a little.
    Raises:
        ImageError: the file is missing, unreadable, no image, damaged, or too large.
    """
    try:
        with Image.open(_openable(source)) as opened:
            width, height = opened.size
            if width * height > max_pixels:
                raise ImageError("too_large", f"{width} x {height} is more than {max_pixels:,} pixels")
            if smallest_px:
                scale = smallest_px / min(width, height)
                opened.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
            # Here, where a damaged file's errors are caught: Pillow decodes only when pixels are asked for.
            opened.load()
            if orientation_of(opened) in SIDEWAYS:
                width, height = height, width
            image = to_rgb(upright(opened))
    except ImageError:
        raise
    except FileNotFoundError as exc:
        raise ImageError("not_found", "no such file") from exc
    except PermissionError as exc:
        raise ImageError("permission_denied", "permission denied") from exc
    except IsADirectoryError as exc:
        raise ImageError("not_an_image", "is a folder") from exc
    except Image.DecompressionBombError as exc:
        # "Image size (N pixels) exceeds limit of M pixels, could be ..."
        raise ImageError("too_large", str(exc).partition(",")[0]) from exc
    except UnidentifiedImageError as exc:
        raise ImageError("not_an_image", _why_unidentified(source)) from exc
    except MemoryError as exc:
        raise ImageError("too_large", "not enough memory to decode it") from exc
    except OSError as exc:
        if exc.errno in UNREACHABLE:
            raise ImageError("not_found", exc.strerror or str(exc)) from exc
        raise ImageError("corrupt_image", exc.strerror or str(exc)) from exc
    except Exception as exc:
        # Damaged bytes drive Pillow's plugins into any error there is, and one bad input must never stop the others.
        raise ImageError("corrupt_image", " ".join(str(exc).split()) or type(exc).__name__) from exc
    return DecodedImage(image, width, height)


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation."""
    # exif_transpose copies the pixels even where there is nothing to turn.
    return ImageOps.exif_transpose(image) if orientation_of(image) > 1 else image


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; a damaged EXIF block, or a number that means nothing, counts as 1 (upright)."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:
        return 1
    return int(orientation) if orientation in range(1, 9) else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB as Pillow does, except that 16-bit, 32-bit and float pixels are scaled instead of clipped."""
    if image.mode in SCALED_MODES:
        return Image.fromarray(scale_to_bytes(np.asarray(image), image.mode)).convert("RGB")
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        # The same colours as directly, without Pillow's warning that transparency gets lost.
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def scale_to_bytes(values: np.ndarray[Any, np.dtype[Any]], mode: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Map deep grey values to 0..255.

    Args:
        values: shape (height, width).
        mode: Pillow's name of the pixel type. 16-bit values map from 0..65535. Float values map from 0..1, and 32-bit
            and other float ones from their own range where they leave 0..255.
    """
    if mode in MODES_16_BIT:
        return np.round(values.astype(np.float32) / 257).astype(np.uint8)
    scaled = values.astype(np.float64)
    finite = scaled[np.isfinite(scaled)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scaled = np.nan_to_num(scaled, nan=low, posinf=high, neginf=low)
    if mode == "I" and low >= 0 and 255 < high <= 65535:
        scaled = scaled / 257
    elif mode == "F" and low >= 0 and high <= 1:
        scaled = scaled * 255
    elif low < 0 or high > 255:
        # One grey all over, which has no span, becomes black.
        scaled = (scaled - low) / ((high - low) or 1) * 255
    result: np.ndarray[Any, np.dtype[np.uint8]] = np.round(scaled).astype(np.uint8)
    return result


def _openable(source: Path | bytes) -> Path | io.BytesIO:
    """What Pillow can open without being held up.

    Raises:
        ImageError: empty, a folder, or something that isn't a file (a named pipe would block for ever).
        OSError: it isn't there.
    """
    if isinstance(source, bytes):
        if not source:
            raise ImageError("not_an_image", "no bytes")
        return io.BytesIO(source)
    if "\0" in str(source):
        raise ImageError("not_found", "a path can't hold a NUL byte")
    mode = source.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ImageError("not_an_image", "is a folder")
    if not stat.S_ISREG(mode):
        raise ImageError("not_an_image", "is not a regular file; pipe an image in with '-'")
    return source


def _why_unidentified(source: Path | bytes) -> str:
    if isinstance(source, Path):
        try:
            if source.stat().st_size == 0:
                return "the file is empty"
        except OSError:
            return "the file has gone"
        if source.suffix.lower() in (".heic", ".heif"):
            return "HEIC, which Pillow doesn't read; convert it to JPEG"
    return "not an image in any format that Pillow reads"
