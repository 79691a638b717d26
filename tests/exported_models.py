"""Small models to export, loaded from files as a user's would be."""

from pathlib import Path

import torch

from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, save_checkpoint
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.loading import load_model

CLASSES = ("cat", "dog", "bär")
RECIPE = {"data": {"source": "cifar10"}, "train": {"seed": 3}}


def save_model(path: Path, name: str, arguments: dict[str, object], side: int) -> Path:
    """Write a checkpoint of a network with random but fixed weights."""
    torch.manual_seed(0)
    network = build_network(name, num_classes=len(CLASSES), arguments=arguments)
    transform = Transform(side, side, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), interpolation="bicubic")
    weights = network.state_dict()
    save_checkpoint(
        Checkpoint(name, arguments, CLASSES, transform, weights, metrics={"top1": 0.5}, recipe=RECIPE), path
    )
    return path


def load_mlp(folder: Path) -> LoadedModel:
    """A perceptron for images of 8 x 8."""
    return load_model(str(save_model(folder / "mlp.pt", "mlp", {"image_px": 8, "hidden": [64]}, 8)))


def load_cnn(folder: Path) -> LoadedModel:
    """The convolutional network of the recipes, for images of 32 x 32."""
    return load_model(str(save_model(folder / "cnn.pt", "cnn", {}, 32)))
