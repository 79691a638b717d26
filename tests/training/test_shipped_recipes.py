"""Every recipe in configs/ trains as it stands, if only for a step."""

from pathlib import Path

import pytest
import torch
from labelled_data import write_cifar10

from imgcls.models.building import build_network
from imgcls.recipes.loading import load_recipe
from imgcls.training.run import train

CONFIGS = Path(__file__).parents[2] / "configs"
# All but the space that `imgcls tune` searches.
SHIPPED = sorted(path for path in CONFIGS.glob("*.toml") if path.name != "space.toml")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_it_trains(path, tmp_path):
    data = write_cifar10(tmp_path / "cifar-10-batches-py", per_file=2)
    shipped = load_recipe(path)
    head_epochs = min(shipped.finetune.head_epochs, 1)
    epochs = head_epochs + 1
    flags = {"data.source": str(data), "data.allow_modified": True, "train.epochs": epochs}
    flags["finetune.head_epochs"] = head_epochs
    if shipped.model.pretrained:
        # Random weights in the place of published ones, which would have to be fetched.
        torch.save(build_network(shipped.model.name, num_classes=1000).state_dict(), tmp_path / "weights.pth")
        flags |= {"model.weights": str(tmp_path / "weights.pth"), "data.image_px": 32}
    recipe = load_recipe(path, flags=flags)
    result = train(recipe, output=tmp_path / "run", device="cpu")
    assert result.epochs == epochs
    assert result.last.loss > 0
