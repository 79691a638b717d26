"""What the fields of a transform may be; they come from a file or a person, so they are checked."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, get_args

if TYPE_CHECKING:
    from imgcls.images.transform import Transform

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Resize = Literal["crop", "squash", "pad"]
Channels = Literal["rgb", "bgr", "grey"]
RGB = tuple[int, int, int]

# No network sees larger images; a stored transform that says so is damaged, or means harm.
MAX_SIDE_PX = 1 << 14
# Of mean and std: what 32-bit numbers hold, with room.
LARGEST = 1e30
MOST_DEPTH_BITS = 32
COLOURS = {"white": (255, 255, 255), "black": (0, 0, 0)}


def parse_colour(text: str) -> RGB:
    """Read `white`, `black` or `#rrggbb`.

    Raises:
        ValueError: none of these.
    """
    if text in COLOURS:
        return COLOURS[text]
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"{text!r} must be white, black or #rrggbb")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


def colour_text(rgb: RGB) -> str:
    """A colour as `parse_colour` reads it."""
    return next((name for name, known in COLOURS.items() if known == rgb), "#{:02x}{:02x}{:02x}".format(*rgb))


def check_values(transform: "Transform") -> None:
    """See that a transform's values are ones that can be worked with.

    Raises:
        ValueError: one is of the wrong kind or out of range.
    """
    width_px = transform.crop_width_px
    sizes = [transform.resize_px, transform.crop_px, *([] if width_px is None else [width_px])]
    if not all(type(size) is int and 1 <= size <= MAX_SIDE_PX for size in sizes):
        raise ValueError(f"sizes must be whole numbers from 1 to {MAX_SIDE_PX}")
    for key, known in (("interpolation", Interpolation), ("resize", Resize), ("channels", Channels)):
        if getattr(transform, key) not in get_args(known):
            raise ValueError(f"{key} must be one of {', '.join(get_args(known))}")
    numbers = [*transform.mean, *transform.std]
    num_channels = transform.num_channels
    is_plain = all(type(number) in (int, float) and abs(number) <= LARGEST for number in numbers)
    if not len(transform.mean) == len(transform.std) == num_channels or not is_plain or min(transform.std) <= 0:
        raise ValueError(f"mean and std take {num_channels} finite numbers each, those of std above 0")
    if not _is_colour(transform.pad_rgb):
        raise ValueError("pad_rgb takes three whole numbers from 0 to 255")
    if type(transform.scale) is not int or transform.scale not in (1, 255):
        raise ValueError("scale must be 1 or 255")
    if transform.background_rgb is not None and not _is_colour(transform.background_rgb):
        raise ValueError("background_rgb takes three whole numbers from 0 to 255")
    depth_bits: Any = transform.depth_bits
    if depth_bits is not None and (type(depth_bits) is not int or not 1 <= depth_bits <= MOST_DEPTH_BITS):
        raise ValueError(f"depth_bits must be a whole number from 1 to {MOST_DEPTH_BITS}")
    if type(transform.accepts_truncated) is not bool:
        raise ValueError("accepts_truncated must be true or false")


def _is_colour(values: Sequence[Any]) -> TypeGuard[RGB]:
    return len(values) == 3 and all(type(value) is int and 0 <= value <= 255 for value in values)
