"""A network of a few hundred weights, and images that it tells apart."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with three classes, random but always the same."""
    import torch

    from imgcls.images.transform import Transform
    from imgcls.models.building import build_network
    from imgcls.models.checkpoint import Checkpoint, save_checkpoint

    arguments = {"image_px": 8, "hidden": [4]}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build_network("mlp", num_classes=3, arguments=arguments)
    path = tmp_path_factory.mktemp("tiny") / "tiny.pt"
    save_checkpoint(Checkpoint("mlp", arguments, CLASSES, Transform(8, 8), network.state_dict()), path)
    return path


def save_image(path: Path, seed: int = 0) -> Path:
    """Write a small image of noise; its format follows the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def save_images(folder: Path, count: int, *, suffix: str = ".png") -> list[Path]:
    """Write `count` different images, named by their number."""
    return [save_image(folder / f"{number:04}{suffix}", number) for number in range(count)]
