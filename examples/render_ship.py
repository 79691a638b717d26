"""Draw `ship.jpg`, an image of the project's own to try things on: a cargo ship on a calm sea.

python examples/render_ship.py
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE_PX = 480
# Drawn larger and scaled down, so that edges come out smooth.
OVERSAMPLING = 3


def render_ship() -> Image.Image:
    """The scene, RGB, SIDE_PX x SIDE_PX."""
    side = SIDE_PX * OVERSAMPLING
    horizon = int(side * 0.56)
    pixels = np.empty((side, side, 3), np.float32)
    sky = np.linspace(0, 1, horizon)[:, None, None]
    pixels[:horizon] = np.array([106, 156, 214]) * (1 - sky) + np.array([214, 226, 236]) * sky
    sea = np.linspace(0, 1, side - horizon)[:, None, None]
    pixels[horizon:] = np.array([74, 118, 150]) * (1 - sea) + np.array([18, 48, 84]) * sea
    # Waves: sines that lengthen towards the viewer.
    rows, columns = np.mgrid[0 : side - horizon, 0:side]
    depth = 1 + rows / (side - horizon) * 7
    waves = np.sin(columns / (9 * depth) + 3 * np.sin(rows / (4 * depth))) * np.sin(rows / (2.2 * depth))
    pixels[horizon:] += waves[..., None] * 9
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)

    def polygon(points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
        draw.polygon([(x * side, y * side) for x, y in points], fill=colour)

    polygon([(0.06, 0.50), (0.95, 0.48), (0.88, 0.63), (0.12, 0.63)], (38, 44, 58))
    polygon([(0.10, 0.595), (0.895, 0.595), (0.88, 0.63), (0.12, 0.63)], (150, 44, 38))
    polygon([(0.06, 0.495), (0.95, 0.475), (0.947, 0.487), (0.063, 0.508)], (226, 228, 226))
    polygon([(0.13, 0.36), (0.30, 0.36), (0.30, 0.50), (0.13, 0.50)], (236, 236, 232))
    polygon([(0.15, 0.28), (0.28, 0.28), (0.28, 0.37), (0.15, 0.37)], (222, 224, 222))
    for x in (0.16, 0.19, 0.22, 0.25):
        polygon([(x, 0.31), (x + 0.018, 0.31), (x + 0.018, 0.335), (x, 0.335)], (40, 60, 84))
    polygon([(0.18, 0.19), (0.235, 0.19), (0.235, 0.28), (0.18, 0.28)], (196, 70, 48))
    polygon([(0.18, 0.19), (0.235, 0.19), (0.235, 0.21), (0.18, 0.21)], (36, 36, 40))
    containers = [(176, 62, 50), (58, 96, 150), (206, 160, 70), (76, 124, 92)]
    for column in range(7):
        for row in range(2 + column % 2):
            left, bottom = 0.34 + column * 0.075, 0.495 - row * 0.045
            colour = containers[(column + 2 * row) % 4]
            polygon(
                [(left, bottom - 0.042), (left + 0.07, bottom - 0.042), (left + 0.07, bottom), (left, bottom)], colour
            )
    polygon([(0.90, 0.34), (0.905, 0.34), (0.91, 0.48), (0.90, 0.48)], (90, 92, 96))
    polygon([(0.05, 0.63), (0.97, 0.63), (0.90, 0.645), (0.10, 0.645)], (176, 198, 210))
    return image.filter(ImageFilter.GaussianBlur(2)).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    render_ship().save(Path(__file__).with_name("ship.jpg"), quality=90)
