"""The network as a function from pixels to probabilities.

Shapes: B batch, H height, W width, C channels (3), K classes.
"""

from typing import Any, Protocol

import numpy as np

from imgcls.errors import DeviceError
from imgcls.images.transform import Floats, Pixels, Transform


class DeviceMemoryError(DeviceError):
    """The device's memory doesn't hold a batch; a smaller one may fit."""


class Backend(Protocol):
    """What the stream needs of a model, whatever runs it.

    Attributes:
        id: name and first digits of the weights' SHA-256.
        classes: labels in the order of the outputs.
        transform: whose geometry the pixels have.
        num_threads: of the CPU that the calling thread's batches may use; 1 where the work is done elsewhere.
    """

    @property
    def id(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def transform(self) -> Transform: ...

    @property
    def num_threads(self) -> int: ...

    def use_threads(self, count: int) -> None:
        """Let the batches that the calling thread answers from now on use so many threads of the CPU."""

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Classify a batch.

        Args:
            images_BHWC: uint8, shape (batch, crop, crop, 3).
        Returns:
            Softmax outputs, float32, shape (batch, K).
        Raises:
            DeviceMemoryError: the batch doesn't fit.
            ModelError: an output isn't a number.
        """


def top_classes(probabilities_K: Floats, top_k: int) -> list[int]:
    """The most probable classes, falling; of equal ones the lower index first.

    Args:
        probabilities_K: shape (K,).
        top_k: how many, at most K.
    """
    num_classes = len(probabilities_K)
    top_k = min(top_k, num_classes)
    if top_k < num_classes:
        # Everything as probable as the k-th, so that ties are broken by index and not by the partition's whim.
        threshold = np.partition(probabilities_K, num_classes - top_k)[num_classes - top_k]
        candidates = np.flatnonzero(probabilities_K >= threshold)
    else:
        candidates = np.arange(num_classes)
    order = np.argsort(-probabilities_K[candidates], kind="stable")
    return [int(index) for index in candidates[order][:top_k]]
