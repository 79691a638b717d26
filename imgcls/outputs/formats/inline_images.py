"""Small images on a terminal: as kitty, iTerm and sixel terminals draw them, or with half blocks of two colours each.

Source: kitty's terminal graphics protocol; iTerm2's inline images protocol; DEC's sixel graphics (VT330/VT340
Programmer Reference Manual, volume 2, chapter 14).

Shapes: H height, W width, C channels (3).
"""

import base64
import io
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from PIL import Image

from imgcls.outputs.formats.format import InlineImages

Way = Literal["kitty", "iterm", "sixel", "blocks"]
WAYS: tuple[Way, ...] = ("kitty", "iterm", "sixel", "blocks")
# Of the box that an image fits into, in characters. A character is about twice as high as it is wide.
COLUMNS, ROWS = 24, 12
# Of a character, where nobody says it.
CELL_PX = (10, 20)
# What a terminal takes at once.
KITTY_CHUNK = 4096
SIXEL_COLOURS = 255
ESCAPE = "\x1b"
# By what terminals call themselves.
PROGRAMS: dict[str, Way] = {
    "iterm.app": "iterm",
    "wezterm": "iterm",
    "ghostty": "kitty",
    "kitty": "kitty",
    "mlterm": "sixel",
    "contour": "sixel",
}
TERMS: tuple[tuple[str, Way], ...] = (
    ("xterm-kitty", "kitty"),
    ("xterm-ghostty", "kitty"),
    ("foot", "sixel"),
    ("mlterm", "sixel"),
    ("contour", "sixel"),
    ("yaft", "sixel"),
)


def way_for(environment: Mapping[str, str]) -> Way:
    """How the terminal that these variables describe draws images.

    Args:
        environment: such as `os.environ`; `IMGCLS_SHOW` decides where it names one of `WAYS`.
    """
    told = environment.get("IMGCLS_SHOW", "").lower()
    if told in WAYS:
        return told
    term = environment.get("TERM", "").lower()
    # A multiplexer keeps its own copy of the screen, and none of these images is in it.
    if environment.get("TMUX") or term.startswith(("screen", "tmux")):
        return "blocks"
    if environment.get("KITTY_WINDOW_ID"):
        return "kitty"
    program = environment.get("TERM_PROGRAM", "").lower() or environment.get("LC_TERMINAL", "").lower()
    if program == "iterm2":
        return "iterm"
    if program in PROGRAMS:
        return PROGRAMS[program]
    for begin, way in TERMS:
        if term.startswith(begin):
            return way
    return "sixel" if "sixel" in term else "blocks"


def beside(jpeg: bytes, lines: list[str], inline: InlineImages) -> str:
    """Lines of text to the right of an image.

    Args:
        jpeg: the image.
        lines: without line feeds; may hold codes of colours.
        inline: how the terminal draws images.
    Returns:
        Whole lines, each with its line feed.
    """
    with Image.open(io.BytesIO(jpeg)) as opened:
        image = opened.convert("RGB")
    columns, rows = box_of(*image.size)
    if inline.way == "blocks":
        drawn = half_blocks(image, columns, rows, true_colour=inline.true_colour)
        blank = " " * columns
        count = max(len(drawn), len(lines))
        pairs = zip(drawn + [blank] * (count - len(drawn)), lines + [""] * (count - len(lines)), strict=True)
        return "".join(f"{left}  {right}".rstrip(" ") + "\n" for left, right in pairs)
    # Room first, so that nothing scrolls while the image is drawn; then back to the first line, and the text beside it.
    count = max(rows, len(lines))
    drawing = _drawn(image, jpeg, columns, rows, inline)
    room = "\n" * count + f"{ESCAPE}[{count}A{ESCAPE}7{drawing}{ESCAPE}8"
    texts = lines + [""] * (count - len(lines))
    return room + "".join(f"{ESCAPE}[{columns + 2}C{text}\n" if text else "\n" for text in texts)


def box_of(width: int, height: int) -> tuple[int, int]:
    """Columns and rows of characters that an image takes, in proportion.

    Args:
        width: in pixels.
        height: likewise.
    """
    scale = min(COLUMNS / width, 2 * ROWS / height)
    return max(round(width * scale), 1), max(round(height * scale / 2), 1)


def half_blocks(image: Image.Image, columns: int, rows: int, *, true_colour: bool) -> list[str]:
    """Rows of characters whose upper half has one colour and whose lower half another.

    Args:
        image: mode RGB.
        columns: wide.
        rows: high, of two pixels each.
        true_colour: 24-bit colours, else the nearest of 256.
    """
    small = image.resize((columns, 2 * rows), Image.Resampling.BOX)
    pixels_HWC = np.asarray(small, dtype=np.uint8)

    def colour(pixel: Any) -> str:
        red, green, blue = (int(value) for value in pixel)
        return f"2;{red};{green};{blue}" if true_colour else f"5;{nearest_of_256(red, green, blue)}"

    found = []
    for top in range(0, 2 * rows, 2):
        cells = (
            f"{ESCAPE}[38;{colour(upper)};48;{colour(lower)}m▀"
            for upper, lower in zip(pixels_HWC[top], pixels_HWC[top + 1], strict=True)
        )
        found.append("".join(cells) + f"{ESCAPE}[0m")
    return found


def nearest_of_256(red: int, green: int, blue: int) -> int:
    """The colour of xterm's cube of 6 x 6 x 6, or of its 24 greys, that is nearest to a 24-bit one."""
    steps = (0, 95, 135, 175, 215, 255)

    def nearest(value: int) -> int:
        return min(range(6), key=lambda place: abs(steps[place] - value))

    cube = [nearest(value) for value in (red, green, blue)]
    grey = min(max(round(((red + green + blue) / 3 - 8) / 10), 0), 23)

    def distance(other: tuple[int, ...]) -> int:
        return sum((one - two) ** 2 for one, two in zip((red, green, blue), other, strict=True))

    if distance((8 + 10 * grey,) * 3) < distance(tuple(steps[place] for place in cube)):
        return 232 + grey
    return 16 + 36 * cube[0] + 6 * cube[1] + cube[2]


def _drawn(image: Image.Image, jpeg: bytes, columns: int, rows: int, inline: InlineImages) -> str:
    if inline.way == "iterm":
        content = base64.b64encode(jpeg).decode("ascii")
        size = f"size={len(jpeg)};width={columns};height={rows};preserveAspectRatio=1"
        return f"{ESCAPE}]1337;File=inline=1;{size}:{content}\a"
    if inline.way == "kitty":
        # PNG is the only packed format of the protocol.
        packed = io.BytesIO()
        image.save(packed, "png")
        content = base64.b64encode(packed.getvalue()).decode("ascii")
        chunks = [content[start : start + KITTY_CHUNK] for start in range(0, len(content), KITTY_CHUNK)]
        head = f"a=T,f=100,q=2,c={columns},r={rows},"
        return "".join(
            f"{ESCAPE}_G{head if number == 0 else ''}m={int(number < len(chunks) - 1)};{chunk}{ESCAPE}\\"
            for number, chunk in enumerate(chunks)
        )
    width, height = inline.cell_px
    return sixel(image.resize((columns * width, rows * height), Image.Resampling.BILINEAR))


def sixel(image: Image.Image) -> str:
    """An image in bands of six rows, a colour after the other.

    Args:
        image: mode RGB.
    """
    few = image.quantize(SIXEL_COLOURS)
    colours = few.getpalette() or []
    places_HW = np.asarray(few, dtype=np.uint8)
    height, width = places_HW.shape
    used = np.unique(places_HW).tolist()
    head = "".join(
        f"#{place};2;" + ";".join(str(round(value / 255 * 100)) for value in colours[3 * place : 3 * place + 3])
        for place in used
    )
    bands = []
    for top in range(0, height, 6):
        band_HW = places_HW[top : top + 6]
        bits_H = 1 << np.arange(len(band_HW))
        rows = []
        for place in np.unique(band_HW).tolist():
            values_W = bits_H @ (band_HW == place)
            rows.append(f"#{place}{_run_lengths(values_W.tolist())}")
        bands.append("$".join(rows))
    return f'{ESCAPE}P0;1;0q"1;1;{width};{height}{head}{"-".join(bands)}{ESCAPE}\\'


def _run_lengths(values: list[int]) -> str:
    """Six pixels each, as characters from `?` on; runs of four and more with their length in front."""
    found: list[str] = []
    start = 0
    for end in range(1, len(values) + 1):
        if end == len(values) or values[end] != values[start]:
            count, char = end - start, chr(63 + values[start])
            found.append(f"!{count}{char}" if count > 3 else char * count)
            start = end
    return "".join(found)
