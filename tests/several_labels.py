"""Images that show any number of three coloured patches, and a table that says which."""

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("blue", "green", "red")
PX = 16
# Where each patch is, and which channel it lights.
PATCHES = {"red": (0, (0, 0)), "green": (1, (0, 8)), "blue": (2, (8, 0))}


def write_several(folder: Path, count: int = 48, *, split: bool = False, name: str = "labels.csv") -> Path:
    """Write images, each with a patch for each of its labels, none included, and the table.

    Args:
        folder: for the images and the table.
        count: of images.
        split: whether the table has a column of splits, every fourth row of which is `val`.
        name: of the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    lines = ["path,label,split" if split else "path,label"]
    for number in range(count):
        labels = [label for place, label in enumerate(NAMES) if number >> place & 1]
        pixels = generator.integers(0, 60, (PX, PX, 3), dtype=np.uint8)
        for label in labels:
            channel, (top, left) = PATCHES[label]
            pixels[top : top + 8, left : left + 8, channel] += 180
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
        # Whole rounds of all eight combinations.
        side = f",{'val' if number // 8 % 4 == 3 else 'train'}" if split else ""
        lines.append(f"{number:03d}.png,{';'.join(labels)}{side}")
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name
