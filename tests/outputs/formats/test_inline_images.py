"""Images on terminals: which way is chosen, that what is drawn is the image, and that nothing is drawn elsewhere."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from imgcls.outputs.formats.format import InlineImages
from imgcls.outputs.formats.inline_images import beside, box_of, half_blocks, nearest_of_256, sixel, way_for


def inline(way: str) -> InlineImages:
    return InlineImages(way, true_colour=True, cell_px=(10, 20))


def jpeg(image: Image.Image) -> bytes:
    packed = io.BytesIO()
    image.save(packed, "jpeg", quality=95)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("environment", "way"),
    [
        ({}, "blocks"),
        ({"TERM": "xterm-256color"}, "blocks"),
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM_PROGRAM": "ghostty"}, "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM_PROGRAM": "WezTerm"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-sixel"}, "sixel"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/x"}, "blocks"),
        ({"TERM": "screen.xterm-256color", "KITTY_WINDOW_ID": "1"}, "blocks"),
        ({"TERM": "xterm-kitty", "IMGCLS_SHOW": "sixel"}, "sixel"),
        ({"TERM": "xterm-kitty", "IMGCLS_SHOW": "nonsense"}, "kitty"),
    ],
)
def test_the_terminal_is_told_by_what_it_calls_itself(environment, way):
    assert way_for(environment) == way


@pytest.mark.parametrize(
    ("size", "box"), [((100, 100), (24, 12)), ((200, 100), (24, 6)), ((100, 200), (12, 12)), ((5000, 1), (24, 1))]
)
def test_the_image_keeps_its_proportions(size, box):
    assert box_of(*size) == box


def test_half_blocks_are_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    rows = half_blocks(Image.fromarray(pixels), 3, 2, true_colour=True)
    found = np.zeros_like(pixels)
    for number, row in enumerate(rows):
        cells = re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀", row)
        for column, values in enumerate(cells):
            found[2 * number, column], found[2 * number + 1, column] = values[:3], values[3:]
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize(
    ("colour", "place"), [((0, 0, 0), 16), ((255, 255, 255), 231), ((255, 0, 0), 196), ((128,) * 3, 244)]
)
def test_the_nearest_of_256_colours(colour, place):
    assert nearest_of_256(*colour) == place


def decoded_sixel(text: str) -> np.ndarray:
    """What a terminal draws: a small reader of its own."""
    head, content = re.fullmatch(r'\x1bP0;1;0q"1;1;(\d+;\d+)(.*)\x1b\\', text, re.S).groups()
    width, height = map(int, head.split(";"))
    drawn = np.zeros((height + 6, width, 3), np.uint8)
    colours, colour, left, top = {}, 0, 0, 0
    for token in re.finditer(r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([$-])|(.)", content):
        place, *rgb, chosen, count, run, move, single = token.groups()
        if place:
            colours[int(place)] = [round(int(value) * 2.55) for value in rgb]
        elif chosen:
            colour = int(chosen)
        elif move:
            left, top = 0, top + 6 * (move == "-")
        else:
            length = int(count or 1)
            for bit in range(6):
                if (ord(run or single) - 63) >> bit & 1:
                    drawn[top + bit, left : left + length] = colours[colour]
            left += length
    return drawn[:height]


def test_sixels_are_the_image():
    pixels = np.zeros((20, 31, 3), np.uint8)
    pixels[:9, :7], pixels[9:, 7:], pixels[3:5, 20:] = (255, 0, 0), (0, 0, 255), (255, 255, 255)
    np.testing.assert_allclose(decoded_sixel(sixel(Image.fromarray(pixels))).astype(int), pixels, atol=3)


def test_kitty_gets_a_png_in_chunks_and_iterm_the_jpeg():
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    image = jpeg(Image.fromarray(noise))
    text = beside(image, ["one", "two"], inline("kitty"))
    parts = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "c=24,r=12" in parts[0][0]
    assert [part[0][-1] for part in parts] == ["1"] * (len(parts) - 1) + ["0"]
    assert all(len(part[1]) <= 4096 for part in parts)
    png = Image.open(io.BytesIO(base64.b64decode("".join(part[1] for part in parts))))
    np.testing.assert_array_equal(np.asarray(png), np.asarray(Image.open(io.BytesIO(image))))
    text = beside(image, ["one"], inline("iterm"))
    (packed,) = re.findall(r"\]1337;File=inline=1;size=\d+;width=24;height=12;preserveAspectRatio=1:([^\a]*)\a", text)
    assert base64.b64decode(packed) == image


@pytest.mark.parametrize("way", ["kitty", "iterm", "sixel", "blocks"])
@pytest.mark.parametrize("count", [1, 20])
def test_text_stands_beside_the_image_and_the_cursor_below_both(way, count):
    text = beside(jpeg(Image.new("RGB", (64, 64))), [f"line {number}" for number in range(count)], inline(way))
    assert text.endswith("\n")
    lines = max(count, 12)
    # Room is made once more, and gone back over, where the terminal draws the image itself.
    assert text.count("\n") == lines * (1 if way == "blocks" else 2)
    assert all(f"line {number}" in text for number in range(count))
