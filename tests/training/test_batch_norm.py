"""What validation and prediction see after few steps is what training saw."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from imgcls.datasets.opening import open_dataset
from imgcls.images.transform import Transform
from imgcls.models.checkpoint import load_checkpoint
from imgcls.recipes.loading import load_recipe
from imgcls.training.batch_norm import measure_statistics
from imgcls.training.run import train


@pytest.fixture(scope="module")
def plain_colours(tmp_path_factory):
    """Three plain colours of 20 images each, 48 px, with noise of sigma 10."""
    folder = tmp_path_factory.mktemp("plain") / "data"
    generator = np.random.default_rng(0)
    for name, colour in {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.clip(np.array(colour) + generator.normal(0, 10, (48, 48, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


SHORT = {
    "the default": [],
    "with an EMA": ["train.ema_decay=0.999"],
    "with an EMA that seldom moves": ["train.ema_decay=0.999", "train.ema_every=100"],
    "one process of many small batches": ["train.batch_size=8", "train.epochs=4"],
}


@pytest.mark.parametrize("settings", SHORT.values(), ids=SHORT)
def test_a_short_run_validates_as_well_as_it_trains(plain_colours, tmp_path, settings):
    recipe = load_recipe(assignments=["data.image_px=16", *settings], flags={"data.source": str(plain_colours)})
    result = train(recipe, output=tmp_path / "run", device="cpu")
    assert result.best.top1 >= 0.95
    assert result.last.top1 >= 0.95


@pytest.mark.parametrize("start", ["cifar10-cnn", "head first"])
def test_a_short_fine_tuning_too(plain_colours, tmp_path, start):
    settings = ["data.image_px=32", "train.epochs=6", *(["finetune.head_epochs=3"] if start == "head first" else [])]
    flags = {"data.source": str(plain_colours), "model.name": "cifar10-cnn"}
    result = train(load_recipe(assignments=settings, flags=flags), output=tmp_path / "run", device="cpu")
    assert result.last.top1 >= 0.95


def test_frozen_batch_norms_stay_as_they_are(plain_colours, tmp_path):
    flags = {"data.source": str(plain_colours), "model.name": "cifar10-cnn", "finetune.freeze": True}
    train(load_recipe(assignments=["train.epochs=2"], flags=flags), output=tmp_path / "run", device="cpu")
    from imgcls.models.loading import load_model

    before = load_model("cifar10-cnn").network.state_dict()
    after = load_checkpoint(tmp_path / "run/best.pt").weights
    assert all(torch.equal(before[name], after[name]) for name in before if "running" in name)


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.drop = nn.Dropout(0.5)

    def forward(self, images_BCHW):
        return self.drop(self.norm(images_BCHW))


def test_the_statistics_are_those_of_the_images(plain_colours):
    transform = Transform(8, 8)
    images = open_dataset(str(plain_colours), transform=transform, val_fraction=0).train
    pixels = torch.cat(
        [b.images_BCHW for b in images.batches(torch.arange(60), batch_size=60, device=torch.device("cpu"))]
    )
    network = Both()
    tracked, state = network.norm.num_batches_tracked, torch.get_rng_state()
    how = {"transform": transform, "device": torch.device("cpu"), "seed": 0}
    measure_statistics(network, images, batch_size=64, **how)
    seen = transform.normalise(pixels)
    torch.testing.assert_close(network.norm.running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(network.norm.running_var, seen.var((0, 2, 3)))
    # Nothing else has changed: neither the mode, nor a counter, nor a generator.
    assert network.training
    assert network.norm.training
    assert network.norm.momentum == 0.1
    assert network.norm.num_batches_tracked is tracked
    assert tracked.item() == 0
    assert torch.equal(torch.get_rng_state(), state)
    before = network.norm.running_mean.clone()
    measure_statistics(network, images, batch_size=1, **how)
    assert torch.equal(network.norm.running_mean, before)
