"""How far probabilities are from the shares that they promise.

Shapes: N images, K classes, M bins.
"""

from dataclasses import dataclass

import numpy as np

from imgcls.evaluation.figures.scores import Booleans, Floats, Floats32, Integers

NUM_BINS = 15
# Columns that are copied out of a matrix at a time, so that each page of memory is visited once.
COLUMNS = 64


@dataclass(frozen=True)
class ReliabilityBins:
    """Images in bins of rising confidence, as many in each.

    Attributes:
        counts_M: images.
        confidences_M: their mean confidence.
        accuracies_M: share of them that is right.
    """

    counts_M: Integers
    confidences_M: Floats
    accuracies_M: Floats

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance between confidence and accuracy, over images."""
        gaps_M = np.abs(self.confidences_M - self.accuracies_M)
        return float((self.counts_M * gaps_M).sum() / self.counts_M.sum())


def reliability_bins(confidences_N: Floats, correct_N: Booleans, *, num_bins: int = NUM_BINS) -> ReliabilityBins:
    """Sort images into bins of equal mass; equal confidences stay together, so that the images' order doesn't count.

    Args:
        confidences_N: in [0, 1].
        correct_N: whether each is right.
        num_bins: at most; fewer where there are fewer different confidences.
    Raises:
        ValueError: there is no image.
    Source: Nguyen and O'Connor 2015, "Posterior calibration and exploratory analysis for natural language processing
    models" (adaptive bins); Guo et al. 2017, "On calibration of modern neural networks" (the error).
    """
    if not len(confidences_N):
        raise ValueError("no image")
    order_N = np.argsort(confidences_N, kind="stable")
    return sorted_bins(confidences_N[order_N], correct_N[order_N], num_bins=num_bins)


def sorted_bins(confidences_N: Floats, hits_N: Booleans | Floats, *, num_bins: int = NUM_BINS) -> ReliabilityBins:
    """`reliability_bins` of images whose confidences rise already."""
    count = len(confidences_N)
    bounds = np.round(np.arange(1, num_bins) * (count / num_bins)).astype(np.int64)
    bounds = bounds[(bounds > 0) & (bounds < count)]
    ends = np.searchsorted(confidences_N, confidences_N[bounds - 1], side="right")
    starts_M = np.unique(np.concatenate([[0], ends[ends < count]]))
    counts_M = np.diff(np.append(starts_M, count))
    return ReliabilityBins(
        counts_M,
        np.add.reduceat(confidences_N, starts_M) / counts_M,
        np.add.reduceat(hits_N.astype(np.float64), starts_M) / counts_M,
    )


def expected_calibration_error(confidences_N: Floats, correct_N: Booleans, *, num_bins: int = NUM_BINS) -> float:
    """The mean distance between confidence and accuracy in bins of equal mass; see `reliability_bins`."""
    return reliability_bins(confidences_N, correct_N, num_bins=num_bins).error


def classwise_calibration_error(
    log_probabilities_NK: Floats32, labels_N: Integers, *, num_bins: int = NUM_BINS
) -> float:
    """The mean over the classes of the calibration error of each class's own probability.

    Args:
        log_probabilities_NK: natural logarithms.
        labels_N: true classes.
        num_bins: of equal mass, for each class.
    Source: Kull et al. 2019, "Beyond temperature scaling: obtaining well-calibrated multi-class probabilities with
    Dirichlet calibration", section 2.
    """
    num_classes = int(log_probabilities_NK.shape[1])
    errors: list[float] = []
    for start in range(0, num_classes, COLUMNS):
        block_KN = np.exp(log_probabilities_NK[:, start : start + COLUMNS].T.astype(np.float64))
        for offset, column_N in enumerate(block_KN):
            errors.append(expected_calibration_error(column_N, labels_N == start + offset, num_bins=num_bins))
    return sum(errors) / num_classes
