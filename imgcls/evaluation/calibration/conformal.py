"""Sets of labels that hold the true one as often as was asked for, by split conformal prediction.

Shapes: N images, K classes.
Source: Romano et al. 2020 (APS), Angelopoulos et al. 2021 (RAPS). Scores here leave out the label's own probability and
draw nothing at random, so that a set depends on its image alone and is never empty; where the model is right more often
than the coverage asked for, sets of one label cover more than that.
"""

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from imgcls.errors import DataError
from imgcls.models.answers.calibration import ConformalSets, scores_by_rank

# Where there are many classes, the tail of improbable ones makes sets large: each rank after the fifth costs this.
MANY_CLASSES = 20
PENALTY, FREE_RANKS = 0.01, 5


class SetFigures(NamedTuple):
    """Of sets on images that their threshold doesn't come from.

    Attributes:
        coverage: share of the images whose set holds the true label.
        mean_size: labels in a set.
        singles: share of the sets that hold one label.
    """

    coverage: float
    mean_size: float
    singles: float


def fit_sets(
    probabilities_NK: Tensor, labels_N: Tensor, *, coverage: float, penalty: float | None = None
) -> ConformalSets:
    """The threshold that covers new images as often as asked for, on average over calibrations.

    Args:
        probabilities_NK: of images that shaped neither the model nor its probabilities.
        labels_N: their true classes, int64.
        coverage: asked for, in (0, 1).
        penalty: of each rank after the fifth; None takes 0.01 where there are more than 20 classes, else 0 (APS).
    Raises:
        DataError: too few images for such a coverage.
    """
    count = len(labels_N)
    rank = math.ceil((count + 1) * coverage)
    if rank > count:
        needed = math.ceil(coverage / (1 - coverage))
        raise DataError(
            f"{count} images are too few for sets that cover {coverage:.1%}", hint=f"use at least {2 * needed} images"
        )
    if penalty is None:
        penalty = PENALTY if probabilities_NK.shape[1] > MANY_CLASSES else 0.0
    scores_N = true_scores(probabilities_NK, labels_N, penalty=penalty, free_ranks=FREE_RANKS)
    return ConformalSets(coverage, float(np.sort(scores_N)[rank - 1]), penalty, FREE_RANKS, count)


def true_scores(
    probabilities_NK: Tensor, labels_N: Tensor, *, penalty: float, free_ranks: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Scores of the true labels, float64, shape (N,)."""
    # As predictions are made: in float32, equal probabilities by index.
    values_NK = probabilities_NK.float().numpy()
    order_NK = np.argsort(-values_NK, axis=1, kind="stable")
    scores_NK = scores_by_rank(np.take_along_axis(values_NK, order_NK, axis=1), penalty=penalty, free_ranks=free_ranks)
    ranks_N = (order_NK == labels_N.numpy()[:, None]).argmax(axis=1)
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = scores_NK[np.arange(len(ranks_N)), ranks_N]
    return found


def measure_sets(sets: ConformalSets, probabilities_NK: Tensor, labels_N: Tensor) -> SetFigures:
    """How often sets hold the true label, and how large they are."""
    values_NK = probabilities_NK.float().numpy()
    order_NK = np.argsort(-values_NK, axis=1, kind="stable")
    sorted_NK = np.take_along_axis(values_NK, order_NK, axis=1)
    scores_NK = scores_by_rank(sorted_NK, penalty=sets.penalty, free_ranks=sets.free_ranks)
    # As `ConformalSets.members` has it, for all at once.
    sizes_N = np.maximum((scores_NK <= sets.threshold).sum(axis=1), 1)
    ranks_N = (order_NK == labels_N.numpy()[:, None]).argmax(axis=1)
    return SetFigures(float((ranks_N < sizes_N).mean()), float(sizes_N.mean()), float((sizes_N == 1).mean()))
