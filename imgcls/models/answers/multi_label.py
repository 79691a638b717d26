"""Several labels per image: each class has a probability of its own, and a threshold from which it is a label.

Stored with the model, and applied wherever it answers. Imports neither torch nor torchvision.

Shapes: K classes.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from imgcls.images.transform import Floats

# Where no validation image tells a better one.
USUAL_THRESHOLD = 0.5
# Beyond what float32 has; files and answers stay short.
DIGITS = 6


@dataclass(frozen=True)
class MultiLabel:
    """That a model's outputs become probabilities by the sigmoid function, each for itself.

    Attributes:
        thresholds: probability from which a class is a label of the image, in (0, 1]; one for each class.
    """

    thresholds: tuple[float, ...]

    @classmethod
    def usual(cls, num_classes: int) -> Self:
        """The same threshold for every class."""
        return cls((USUAL_THRESHOLD,) * num_classes)

    def members(self, probabilities_K: Floats) -> list[int]:
        """The classes that are labels of an image, the most probable first; of equal ones the lower index.

        Args:
            probabilities_K: shape (K,).
        """
        above = np.flatnonzero(probabilities_K >= np.asarray(self.thresholds, np.float32))
        order = np.argsort(-probabilities_K[above], kind="stable")
        return [int(index) for index in above[order]]

    def describe(self) -> dict[str, Any]:
        """As the `model` object of JSON answers tells it."""
        return {"multi_label": True, "thresholds": list(self.thresholds)}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and model cards."""
        return {"thresholds": list(self.thresholds)}

    @classmethod
    def from_dict(cls, values: Any, *, num_classes: int) -> Self:
        """What `to_dict` wrote.

        Raises:
            ValueError: it isn't that, or not for so many classes.
        """
        try:
            found = tuple(float(each) for each in values["thresholds"])
        except (KeyError, TypeError, ValueError) as exc:
            raise ValueError(f"the thresholds can't be read: {exc!r}") from exc
        if len(found) != num_classes:
            raise ValueError(f"{len(found)} thresholds for {num_classes} classes")
        if not all(math.isfinite(each) and 0 < each <= 1 for each in found):
            raise ValueError("a threshold is no probability")
        return cls(found)


def multi_label_of(description: dict[str, Any]) -> MultiLabel | None:
    """What a model's description tells of several labels; None for a model without thresholds."""
    thresholds = description.get("thresholds")
    return MultiLabel(tuple(thresholds)) if thresholds is not None else None
