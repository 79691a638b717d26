"""A model small enough to be checked by hand: how red, green and blue an image is."""

from typing import Any

import numpy as np
from PIL import Image

from imgcls.images.inputs.source import Source
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.inference.batch_run import BatchResult, run_batch
from imgcls.inference.pipeline import StreamSettings
from imgcls.outputs.destination import Destination
from imgcls.outputs.origin import Origin


class ColourBackend:
    """Answers with the mean of each channel as a share of all three.

    Args:
        classes: three labels.
    """

    id = "colour@000000000000"
    transform = Transform(resize_px=8, crop_px=8)
    num_threads = 2

    def __init__(self, classes: tuple[str, ...] = ("red", "green", "blue")) -> None:
        self.classes = classes

    def use_threads(self, count: int) -> None:
        """It needs none."""

    def describe(self) -> dict[str, Any]:
        """As a real model does."""
        return {
            "id": self.id,
            "name": "colour",
            "weights_sha256": "0" * 64,
            "num_classes": len(self.classes),
            "transform": self.transform.to_dict(),
        }

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Shares of the channels, shape (batch, 3)."""
        means_BC = images_BHWC.mean(axis=(1, 2), dtype=np.float64) + 1e-9
        shares: Floats = (means_BC / means_BC.sum(axis=1, keepdims=True)).astype(np.float32)
        return shares


def draw_image(red: int, green: int, blue: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """An image of one colour."""
    return Image.new("RGB", size, (red, green, blue))


def classify(
    sources: list[Source], destination: Destination, backend: ColourBackend | None = None, **settings: Any
) -> BatchResult:
    """A whole run, three classes an image."""
    return run_batch(backend or ColourBackend(), sources, destination, StreamSettings(**{"top_k": 3, **settings}))


def colour_origin(classes: tuple[str, ...] = ("red", "green", "blue"), *, threshold: float | None = None) -> Origin:
    """What a run of `classify` says of its answers."""
    backend = ColourBackend(classes)
    return Origin(
        backend.describe(), classes, backend.transform, "cpu", 3, threshold, fast_decode=False, max_pixels=10**8
    )
