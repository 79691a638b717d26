"""Deep grey images (12 to 64 bits, integer and float) as bytes, from the range that the file itself declares.

| file says | black to white |
| --- | --- |
| TIFF with minimum and maximum sample values | those |
| 12, 16 or 32 bits, unsigned | 0 to 2^bits - 1; `depth_bits` says how many of them are used |
| 16 bits, signed | 0 to 32,767, or -32,768 to 32,767 where values are negative |
| PNG, PGM | 0 to what the header calls white |
| float | 0 to 1 where 19 of 20 values are at most 1; else 0 to 255 where they fit; else their own range |

TIFF's WhiteIsZero is turned round.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Values = np.ndarray[Any, np.dtype[Any]]
# Pillow's names for pixels of 16 bits; it would clip them to 8 bits, not scale them.
MODES_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
DEEP_MODES = (*MODES_16_BIT, "I", "F")
BITS, PHOTOMETRIC, SAMPLE_FORMAT, SMALLEST, LARGEST = 258, 262, 339, 340, 341
UNSIGNED, SIGNED = 1, 2
# Ringing of filters and highlights beyond white.
MOST_BELOW, SHARE_WITHIN = -0.05, 0.95
# Rows are scaled in pieces, so that a large image takes little more than its own pixels.
PIECE_VALUES = 1 << 20


class GreyRange(NamedTuple):
    """What black and white are.

    Attributes:
        black, white: values; those beyond are clipped.
        is_unsigned: whether 32-bit values are to be read as unsigned.
        low, high: what values that are no number are taken as.
    """

    black: float
    white: float
    is_unsigned: bool = False
    low: float = 0.0
    high: float = 1.0


def grey_to_bytes(image: Image.Image, *, depth_bits: int | None = None) -> Image.Image:
    """A deep grey image as one of 8 bits.

    Args:
        image: of one of `DEEP_MODES`, with the tags of its file where it came from one.
        depth_bits: how many bits of an integer are used, such as 12 of 16; None for what the file says.
    """
    values = np.asarray(image)
    declared = _declared(image, depth_bits)
    if declared is not None and declared.is_unsigned:
        values = values.view(np.uint32)
    return Image.fromarray(_scaled(values, declared or _found(values, image.mode)))


def scale_to_bytes(values: Values, mode: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Map deep grey values to 0..255.

    Args:
        values: shape (height, width).
        mode: Pillow's name of the pixel type. 16-bit values map from 0..65535; others from the range that they show.
    """
    return _scaled(values, GreyRange(0, 65535) if mode in MODES_16_BIT else _found(values, mode))


def _declared(image: Image.Image, depth_bits: int | None) -> GreyRange | None:
    """The range that the file declares, if it does."""
    tags = getattr(image, "tag_v2", None)
    sample = _number(tags, SAMPLE_FORMAT, UNSIGNED)
    bits = int(_number(tags, BITS, 16 if image.mode in MODES_16_BIT or image.format == "PPM" else 32))
    low, high = _number(tags, SMALLEST, math.nan), _number(tags, LARGEST, math.nan)
    if math.isfinite(low) and math.isfinite(high) and low < high:
        return _turned(tags, low, high)
    if image.mode == "F":
        return None
    if depth_bits is not None:
        return _turned(tags, 0, 2**depth_bits - 1)
    if image.mode in MODES_16_BIT or image.format == "PPM":
        return _turned(tags, 0, 2**bits - 1)
    if tags is not None and sample == UNSIGNED:
        return _turned(tags, 0, 2**bits - 1, is_unsigned=True)
    if tags is not None and sample == SIGNED and bits == 16:
        lowest, _ = image.getextrema()
        return _turned(tags, -32768 if isinstance(lowest, (int, float)) and lowest < 0 else 0, 32767)
    return None


def _turned(tags: Any, black: float, white: float, *, is_unsigned: bool = False) -> GreyRange:
    if _number(tags, PHOTOMETRIC, 1) == 0:
        black, white = white, black
    return GreyRange(black, white, is_unsigned)


def _number(tags: Any, tag: int, default: float) -> float:
    try:
        value = tags[tag] if tags is not None else default
        return float(value[0] if isinstance(value, tuple) else value)
    except (KeyError, IndexError, TypeError, ValueError):
        return default


def _found(values: Values, mode: str) -> GreyRange:
    """The range that the values themselves show."""
    lows, highs, num_within, num_finite = [], [], 0, 0
    for piece in _pieces(values):
        finite = piece[np.isfinite(piece)] if mode == "F" else piece
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
            num_within += int(np.count_nonzero(finite <= 1))
            num_finite += finite.size
    low, high = (min(lows), max(highs)) if lows else (0.0, 0.0)
    if mode == "F" and low >= MOST_BELOW and high > 0 and num_within >= SHARE_WITHIN * num_finite:
        return GreyRange(0, 1, low=low, high=high)
    if low >= 0 and high <= 255:
        return GreyRange(0, 255, low=low, high=high)
    if mode == "I" and low >= 0 and high <= 65535:
        return GreyRange(0, 65535, low=low, high=high)
    # One grey all over, which has no span, becomes black.
    return GreyRange(low, high if high > low else math.inf, low=low, high=high)


def _scaled(values: Values, levels: GreyRange) -> np.ndarray[Any, np.dtype[np.uint8]]:
    result = np.empty(values.shape, np.uint8)
    if math.isinf(levels.white):
        result.fill(0)
        return result
    for piece, target in zip(_pieces(values), _pieces(result), strict=True):
        scaled = piece.astype(np.float64)
        # What is no number is as dark as it gets, or as bright.
        np.nan_to_num(scaled, copy=False, nan=levels.low, posinf=levels.high, neginf=levels.low)
        scaled -= levels.black
        scaled *= 255 / (levels.white - levels.black)
        np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled)
        target[...] = scaled
    return result


def _pieces(values: Values) -> Iterator[Values]:
    rows = max(1, PIECE_VALUES // max(1, values.shape[-1]))
    for start in range(0, len(values), rows):
        yield values[start : start + rows]
