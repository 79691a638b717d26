"""Test-time augmentation around any backend: it classifies several views of each image, and their logits are averaged.

Shapes: B batch, H height, W width, C channels, K classes.
"""

from typing import Any

import numpy as np

from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.images.views import Views, views_of
from imgcls.inference.backends.backend import Backend

# The smallest number whose logarithm float32 has.
LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)


class AveragedViews:
    """A backend that answers with the mean over several views of each image; see `Backend`.

    The softmax of the mean of the logits is the geometric mean of the probabilities, scaled to add up to 1: it is the
    same whatever runs the model.

    Args:
        backend: answers for each view.
        views: which; `evaluation.test_time_augmentation` measures the same ones.
    """

    def __init__(self, backend: Backend, views: Views) -> None:
        self.backend = backend
        self.views = views
        self._is_multi_label = bool(backend.describe().get("multi_label"))

    @property
    def id(self) -> str:
        """The model's."""
        return self.backend.id

    @property
    def classes(self) -> tuple[str, ...]:
        """The model's."""
        return self.backend.classes

    @property
    def transform(self) -> Transform:
        """The model's."""
        return self.backend.transform

    @property
    def num_threads(self) -> int:
        """The model's."""
        return self.backend.num_threads

    def keep_in_memory(self) -> None:
        """Of the model that answers; see `Backend`."""
        self.backend.keep_in_memory()

    def use_threads(self, count: int) -> None:
        """See `Backend`."""
        self.backend.use_threads(count)

    def describe(self) -> dict[str, Any]:
        """The model's, with `tta`."""
        return {**self.backend.describe(), "tta": self.views}

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Float32, shape (batch, K); see `Backend`."""
        sums_BK: Floats | None = None
        for view_BHWC, weight in views_of(images_BHWC, self.views):
            found_BK = self.backend.probabilities(view_BHWC)
            part_BK = found_BK if self._is_multi_label else np.log(np.maximum(found_BK, LEAST_PROBABILITY))
            sums_BK = part_BK * np.float32(weight) if sums_BK is None else sums_BK + part_BK * np.float32(weight)
        assert sums_BK is not None
        if self._is_multi_label:
            return sums_BK
        scaled_BK = np.exp(sums_BK - sums_BK.max(axis=1, keepdims=True))
        found: Floats = (scaled_BK / scaled_BK.sum(axis=1, keepdims=True)).astype(np.float32)
        return found
