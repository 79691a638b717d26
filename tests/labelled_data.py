"""Small labelled data sets on disk, for the tests of every room that opens one."""

import pickle
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30), (30, 200, 200))
CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def write_image(path: Path, *, seed: int = 0, colour: tuple[int, int, int] = (90, 120, 30), px: int = 12) -> Path:
    """Write an image of one colour with some noise, a little wider than high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 40, (px, px + 3, 3))
    Image.fromarray((np.array(colour) + noise).astype(np.uint8)).save(path)
    return path


def write_classes(root: Path, counts: dict[str, int], *, suffix: str = ".png") -> Path:
    """Write a folder a class, each with so many images, a colour a class."""
    for position, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            colour = COLOURS[position % len(COLOURS)]
            write_image(root / name / f"{index:03d}{suffix}", seed=100 * position + index, colour=colour)
    return root


def damage(path: Path) -> Path:
    """Cut an image's file in half."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def write_cifar10(folder: Path, *, per_file: int = 4, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Write files in CIFAR-10's layout with random pixels; their checksums are of course not the published ones."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in CIFAR10_FILES:
        pixels = random.integers(0, 256, (per_file, 3072), dtype=np.uint8)
        labels = [index % len(classes) for index in range(per_file)]
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels}, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(classes)}, protocol=2))
    return folder
