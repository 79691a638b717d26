"""Images and recipes for runs of a second, and what is to be the same after two of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imgcls.models.checkpoint import load_checkpoint
from imgcls.recipes.loading import load_recipe
from imgcls.recipes.schema import Recipe

PX = 8


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten images each of three colours, in class folders."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    generator = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 90, (PX, PX, 3), dtype=np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def recipe_for(folder: Path, *settings: str, **flags: Any) -> Recipe:
    """Three epochs of three steps each, with a small CNN."""
    assignments = (
        "model.arguments.widths=[4, 4, 8, 8]",
        "data.image_px=8",
        "train.batch_size=8",
        "augment.translate_px=1",
        *settings,
    )
    return load_recipe(assignments=assignments, flags={"data.source": str(folder), "train.epochs": 3, **flags})


def stop_after(num_steps: int, reason: str = "SIGINT") -> Callable[[], str | None]:
    """A `should_stop` that counts how often it was asked."""
    asked = iter(range(1, 10**6))
    return lambda: reason if next(asked) >= num_steps else None


def assert_same_weights(first: Path, second: Path) -> None:
    """The checkpoints of two runs hold the same weights, bit for bit."""
    for name in ("best.pt", "last.pt"):
        expected, found = load_checkpoint(first / name), load_checkpoint(second / name)
        for key, value in expected.weights.items():
            assert torch.equal(value, found.weights[key]), (name, key)


def assert_same_metrics(first: Path, second: Path) -> None:
    """The lines of two runs' metrics.jsonl agree but for the time they took."""
    rows, others = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (first, second)
    )
    for row, other in zip(rows, others, strict=True):
        for key in ("epoch", "step", "lr", "train_loss", "loss", "top1", "top5"):
            assert row[key] == other[key], key
