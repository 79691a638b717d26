"""What a network said of each image: the raw material of every figure beyond counts.

Shapes: N images, K classes of the model, T classes that are kept per image (at most 5).
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Floats32 = np.ndarray[Any, np.dtype[np.float32]]
Integers = np.ndarray[Any, np.dtype[np.int64]]
Booleans = np.ndarray[Any, np.dtype[np.bool_]]

# How many classes are kept of each image, as predict names them.
NUM_ANSWERS = 5


@dataclass(frozen=True)
class ImageScores:
    """The answers for the images that were measured, in the order of the data set.

    Attributes:
        indices_N: which image of the set each is.
        labels_N: true classes, as indices of the model's outputs.
        guesses_N: the most probable classes; of equal ones the lowest index.
        losses_N: cross-entropy of each image, in nats.
        brier_N: sum of the squared errors of all probabilities, in [0, 2] (Brier 1950).
        top_ids_NT: the most probable classes, falling.
        top_probabilities_NT: theirs.
        log_probabilities_NK: of all classes, float32; None where they would not fit into memory.
    """

    indices_N: Integers
    labels_N: Integers
    guesses_N: Integers
    losses_N: Floats
    brier_N: Floats
    top_ids_NT: Integers
    top_probabilities_NT: Floats
    log_probabilities_NK: Floats32 | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.labels_N)

    @cached_property
    def correct_N(self) -> Booleans:
        """Whether the first guess is the true class."""
        return np.asarray(self.guesses_N == self.labels_N)

    @cached_property
    def confidences_N(self) -> Floats:
        """Probability of the first guess."""
        return self.top_probabilities_NT[:, 0]

    @cached_property
    def true_probabilities_N(self) -> Floats:
        """Probability of the true class."""
        return np.exp(-self.losses_N)

    @cached_property
    def margins_N(self) -> Floats:
        """Probability of the true class less that of the most probable other one: negative for mistakes."""
        others_N = np.where(self.correct_N, _second(self.top_probabilities_NT), self.confidences_N)
        return self.true_probabilities_N - others_N

    @cached_property
    def are_finite(self) -> bool:
        """Whether every probability is a number; where one isn't, only what counts guesses can be said."""
        return bool(np.isfinite(self.brier_N).all() and np.isfinite(self.losses_N).all())


def _second(probabilities_NT: Floats) -> Floats:
    return probabilities_NT[:, 1] if probabilities_NT.shape[1] > 1 else np.zeros(len(probabilities_NT))
