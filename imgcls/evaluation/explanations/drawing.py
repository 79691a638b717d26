"""An explanation as an image: what the network saw, the same under its heat map, and a colour bar."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imgcls.evaluation.explanations.explanation import Explanation, HeatValues
from imgcls.host.terminal_text import printable
from imgcls.images.transform import Pixels

# Small images are enlarged to at least so many pixels, by a whole factor.
LEAST_PX = 224
MARGIN, BAR_PX, LINE_PX, LABEL_PX = 12, 14, 20, 34
BACKGROUND, INK = (255, 255, 255), (25, 26, 28)
# Of matplotlib's inferno, at equal distances.
STOPS = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))


def draw_explanation(image_HWC: Pixels, explanation: Explanation, *, caption: str) -> Image.Image:
    """Side by side: the image, and the image under its heat map, with a colour bar and a caption.

    Args:
        image_HWC: what the network saw, uint8.
        explanation: of it.
        caption: below; one line.
    """
    plain = Image.fromarray(np.ascontiguousarray(image_HWC))
    factor = max(1, -(-LEAST_PX // min(plain.size)))
    plain = plain.resize((plain.width * factor, plain.height * factor), Image.Resampling.NEAREST)
    width, height = plain.size
    sheet = Image.new(
        "RGB", (4 * MARGIN + 2 * width + BAR_PX + LABEL_PX, 2 * MARGIN + height + 2 * LINE_PX), BACKGROUND
    )
    sheet.paste(plain, (MARGIN, MARGIN))
    sheet.paste(overlaid(plain, explanation.values_hw), (2 * MARGIN + width, MARGIN))
    bar_left = 3 * MARGIN + 2 * width
    ramp: HeatValues = np.linspace(1, 0, height, dtype=np.float32)[:, None].repeat(BAR_PX, 1)
    sheet.paste(Image.fromarray(coloured(ramp)), (bar_left, MARGIN))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for text, y in (("most", MARGIN), ("none", MARGIN + height - 14)):
        pen.text((bar_left + BAR_PX + 4, y), text, fill=INK, font=font)
    for number, text in enumerate((printable(caption), explanation.method)):
        pen.text((MARGIN, MARGIN + height + 4 + number * LINE_PX), text, fill=INK, font=font)
    return sheet


def overlaid(image: Image.Image, values_hw: HeatValues) -> Image.Image:
    """An image under a heat map: clear where the map is weak, coloured where it is strong."""
    bytes_hw = (values_hw * 255).round().astype(np.uint8)
    large = Image.fromarray(bytes_hw).resize(image.size, Image.Resampling.BICUBIC)
    values_HW: HeatValues = np.asarray(large, dtype=np.float32) / np.float32(255)
    grey_HW1 = np.asarray(image.convert("L"), dtype=np.float32)[..., None]
    strength_HW1 = 0.35 + 0.45 * values_HW[..., None]
    blended: Any = grey_HW1 + strength_HW1 * (coloured(values_HW).astype(np.float32) - grey_HW1)
    return Image.fromarray(blended.round().clip(0, 255).astype(np.uint8))


def coloured(values: HeatValues) -> Pixels:
    """Colours for values in [0, 1]: uint8, with a last dimension of three."""
    at = np.linspace(0, 1, len(STOPS))
    channels = [np.interp(values, at, [stop[channel] for stop in STOPS]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
