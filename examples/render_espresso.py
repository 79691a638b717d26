"""Draw `espresso.jpg`, an image of the project's own to try things on: a cup of espresso on a wooden table.

python examples/render_espresso.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE_PX = 480
# Drawn larger and scaled down, so that edges come out smooth.
OVERSAMPLING = 2
SIDE = SIDE_PX * OVERSAMPLING
Floats = np.ndarray
# Light comes from the upper left.
LIGHT = np.array([-0.55, -0.65])


def render_espresso() -> Image.Image:
    """The scene, RGB, SIDE_PX x SIDE_PX."""
    random = np.random.default_rng(7)
    pixels = _table(random)
    pixels = _shadow(pixels, centre=(0.53, 0.62), radii=(0.44, 0.27), blur=0.03, depth=0.62)
    pixels = _saucer(pixels)
    pixels = _shadow(pixels, centre=(0.55, 0.62), radii=(0.26, 0.15), blur=0.025, depth=0.5)
    pixels = _handle(pixels)
    pixels = _cup(pixels)
    pixels = _coffee(pixels, random)
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return image.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)


def _grid() -> tuple[Floats, Floats]:
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) / SIDE
    return columns, rows


def _noise(random: np.random.Generator, height: int, width: int) -> Floats:
    """Smooth values from 0 to 1 over the whole scene, with so many bumps."""
    small = Image.fromarray((random.random((height, width)) * 255).astype(np.uint8))
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255


def _table(random: np.random.Generator) -> Floats:
    x, y = _grid()
    grain = 0.5 * _noise(random, 160, 5) + 0.3 * _noise(random, 60, 4) + 0.2 * _noise(random, 400, 12)
    light = 1.12 - 0.5 * ((x - 0.2) ** 2 + (y - 0.1) ** 2)
    wood = np.array([92, 56, 33]) + grain[..., None] * np.array([70, 48, 30])
    planks = 1 - 0.55 * np.exp(-(((y * 3.3 + 0.35) % 1 - 0.5) ** 2) / 0.00003)[..., None]
    return (wood * light[..., None] * planks).astype(np.float32)


def _inside(centre: tuple[float, float], radii: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Distance from the centre, 1 at the ellipse's edge, and both coordinates on that scale."""
    x, y = _grid()
    u, v = (x - centre[0]) / radii[0], (y - centre[1]) / radii[1]
    return np.hypot(u, v), u, v


def _edge(distance: Floats, radius: float = 1.0, softness: float = 0.006) -> Floats:
    """1 inside, 0 outside, smooth between."""
    return np.clip((radius - distance) / softness + 0.5, 0, 1)[..., None]


def _over(below: Floats, above: Floats, mask: Floats) -> Floats:
    return below * (1 - mask) + above * mask


def _blurred(mask: Floats, radius: float) -> Floats:
    image = Image.fromarray((np.clip(mask[..., 0], 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius * SIDE)), np.float32)[..., None] / 255


def _shadow(
    pixels: Floats, *, centre: tuple[float, float], radii: tuple[float, float], blur: float, depth: float
) -> Floats:
    distance, _u, _v = _inside(centre, radii)
    return pixels * (1 - depth * _blurred(_edge(distance), blur))


def _china(brightness: Floats) -> Floats:
    return brightness[..., None] * np.array([246, 242, 234], np.float32)


def _saucer(pixels: Floats) -> Floats:
    distance, u, v = _inside((0.5, 0.59), (0.44, 0.275))
    slope = LIGHT[0] * u + LIGHT[1] * v
    pixels = _over(pixels, _china(0.86 + 0.10 * slope), _edge(distance))
    pixels = _over(pixels, _china(0.93 - 0.16 * slope), _edge(distance, 0.965))
    pixels = _over(pixels, _china(0.90 + 0.07 * slope), _edge(distance, 0.60, 0.05))
    return _over(pixels, _china(0.84 - 0.05 * slope), _edge(distance, 0.56, 0.03))


def _handle(pixels: Floats) -> Floats:
    mask = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(mask)
    box = [0.70 * SIDE, 0.36 * SIDE, 0.91 * SIDE, 0.57 * SIDE]
    draw.ellipse(box, outline=255, width=int(0.042 * SIDE))
    ring = np.asarray(mask.filter(ImageFilter.GaussianBlur(1.5)), np.float32)[..., None] / 255
    distance, _u, v = _inside((0.805, 0.465), (0.105, 0.105))
    # Round like a pipe: brightest along the middle, a little towards the light.
    across = (distance - 0.78) / 0.22
    return _over(pixels, _china(0.90 - 0.20 * across**2 - 0.10 * v), ring)


def _cup(pixels: Floats) -> Floats:
    x, y = _grid()
    top, bottom = 0.40, 0.68
    # The bowl narrows towards its foot.
    down = np.clip((y - top) / (bottom - top), 0, 1)
    half = 0.285 * np.sqrt(np.clip(1 - 0.72 * down**2.2, 0, 1))
    u = (x - 0.5) / np.maximum(half, 1e-3)
    sides = np.clip((1 - np.abs(u)) / 0.01 + 0.5, 0, 1) * (y > top)
    # Below, an ellipse closes it whose sides go on where the bowl's end.
    rounded, _a, _b = _inside((0.5, 0.595), (0.227, 0.092))
    bowl = np.maximum(sides * (y < 0.60), _edge(rounded)[..., 0])[..., None]
    shade = 0.93 - 0.30 * np.clip(u + 0.25, -0.2, 2) ** 2 - 0.22 * down**2
    glint = 0.10 * np.exp(-((u + 0.55) ** 2) / 0.012) * np.exp(-((down - 0.35) ** 2) / 0.06)
    pixels = _over(pixels, _china(np.clip(shade + glint, 0.3, 1.02)), bowl)
    distance, u, v = _inside((0.5, 0.40), (0.285, 0.165))
    slope = LIGHT[0] * u + LIGHT[1] * v
    pixels = _over(pixels, _china(0.97 + 0.04 * slope), _edge(distance))
    # The inner wall, darker on the side of the light.
    return _over(pixels, _china(0.80 - 0.20 * slope), _edge(distance, 0.935, 0.01))


def _coffee(pixels: Floats, random: np.random.Generator) -> Floats:
    distance, u, v = _inside((0.5, 0.418), (0.252, 0.137))
    angle = np.arctan2(v, u)
    # Two kinds of crema, a lighter and a darker one, stirred into a spiral.
    swirl = distance * 4.2 - angle * 1.0 + 2.4 * _noise(random, 5, 6)
    stirred = np.clip(0.5 + 0.75 * np.sin(swirl * 2.0), 0, 1)
    bubbles = np.clip(_noise(random, 150, 150) * 1.6 - 0.55, 0, 1)
    light, dark = np.array([168, 104, 50]), np.array([74, 36, 14])
    share = (0.10 + 0.62 * stirred * (0.35 + 0.65 * distance) + 0.16 * bubbles)[..., None]
    # The crema is thickest along the wall, with a dark line where it meets the china.
    share = np.clip(share + 0.62 * np.exp(-((distance - 0.93) ** 2) / 0.006)[..., None], 0, 1)
    crema = dark + share * (light - dark)
    crema = crema * (1 - 0.45 * np.clip((distance - 0.955) / 0.045, 0, 1))[..., None]
    shade = np.clip(1.02 + 0.14 * (-LIGHT[0] * u - LIGHT[1] * v), 0.75, 1.2)[..., None]
    glint = np.exp(-(((u + 0.40) / 0.26) ** 2 + ((v + 0.45) / 0.12) ** 2))[..., None] * 60
    return _over(pixels, crema * shade + glint, _edge(distance))


if __name__ == "__main__":
    render_espresso().save(Path(__file__).with_name("espresso.jpg"), quality=88)
