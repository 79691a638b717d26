"""How much figures vary from one sample of images to the next: they are measured on resampled images again and again.

Shapes: N images, K classes, R resamples.
"""

from collections.abc import Iterator

import numpy as np

from imgcls.evaluation.figures.calibration_error import sorted_bins
from imgcls.evaluation.figures.class_counts import ClassCounts
from imgcls.evaluation.figures.intervals import LEVEL, Interval
from imgcls.evaluation.figures.ranking import rank_class
from imgcls.evaluation.figures.scores import Floats, ImageScores, Integers

NUM_RESAMPLES = 1000
# Figures that need every probability take time with images x classes x resamples. Beyond so many values they get
# fewer resamples, and below the least number no interval.
MAX_VALUES = 200_000_000
LEAST_RESAMPLES = 200


def bootstrap(
    scores: ImageScores, num_classes: int, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> tuple[dict[str, Interval], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Intervals of the figures that are no plain shares.

    Each resample draws as many images as there are, with replacement. Means lie between the 2.5th and the 97.5th
    percentile of the resamples. A calibration error grows with noise, so its interval is the one that turns the
    percentiles around the measured value (the basic bootstrap), which takes that bias out again.

    Args:
        scores: of the images, all finite.
        num_classes: of the model.
        seed: of the resampling.
        num_resamples: how often.
    Returns:
        Intervals by the figures' names, and those of each class's F1, shape (K, 2), not numbers where it has none.
    Source: Efron and Tibshirani 1993, chapters 13 and 16; Davison and Hinkley 1997, section 5.2 (basic).
    """
    order_N = np.argsort(scores.confidences_N, kind="stable")
    labels_N, guesses_N = scores.labels_N[order_N], scores.guesses_N[order_N]
    correct_N, confidences_N = scores.correct_N[order_N], scores.confidences_N[order_N]
    losses_N, brier_N = scores.losses_N[order_N], scores.brier_N[order_N]
    hits_N = correct_N.astype(np.float64)
    found: dict[str, list[float]] = {}
    f1_RK = np.empty((num_resamples, num_classes))
    for number, weights_N in enumerate(resamples(len(scores), num_resamples, seed)):
        draws_N = weights_N.astype(np.float64)
        counts = ClassCounts(
            np.bincount(labels_N, draws_N, num_classes).astype(np.float64),
            np.bincount(guesses_N, draws_N, num_classes).astype(np.float64),
            np.bincount(labels_N, draws_N * hits_N, num_classes).astype(np.float64),
        )
        f1_RK[number] = counts.f1_K
        drawn_N = np.repeat(np.arange(len(scores)), weights_N)
        values = counts.averages() | {
            "log_loss": float(weights_N @ losses_N) / len(scores),
            "brier": float(weights_N @ brier_N) / len(scores),
            "ece": sorted_bins(confidences_N[drawn_N], hits_N[drawn_N]).error,
        }
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    measured_error = sorted_bins(confidences_N, hits_N).error
    intervals = {name: percentiles(values) for name, values in found.items()}
    intervals["ece"] = _basic(found["ece"], measured_error)
    with np.errstate(invalid="ignore"):
        is_known_K = np.isfinite(f1_RK).any(0)
        f1_intervals_K2 = np.full((num_classes, 2), np.nan)
        f1_intervals_K2[is_known_K] = np.nanquantile(f1_RK[:, is_known_K], _tails(), axis=0).T
    return intervals, f1_intervals_K2


def bootstrap_rankings(
    scores: ImageScores, measured: dict[str, float], *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> dict[str, Interval]:
    """Intervals of the macro figures that need every class's probability; none where they would take too long.

    Args:
        scores: with all probabilities, finite.
        measured: the figures themselves, by name.
        seed: of the resampling.
        num_resamples: how often, at most.
    """
    if scores.log_probabilities_NK is None:
        return {}
    count, num_classes = scores.log_probabilities_NK.shape
    num_resamples = min(num_resamples, MAX_VALUES // (count * num_classes))
    if num_resamples < LEAST_RESAMPLES:
        return {}
    columns = []
    for label in range(num_classes):
        values_N = scores.log_probabilities_NK[:, label]
        order_N = np.argsort(values_N, kind="stable")
        columns.append((order_N, values_N[order_N], np.exp(values_N[order_N].astype(np.float64)),
                        scores.labels_N[order_N] == label))  # fmt: skip
    found: dict[str, list[float]] = {name: [] for name in ("roc_auc_macro", "average_precision_macro", "classwise_ece")}
    for weights_N in resamples(count, num_resamples, seed):
        areas, precisions, errors = [], [], []
        for order_N, values_N, probabilities_N, is_own_N in columns:
            drawn_N = np.repeat(np.arange(count), weights_N[order_N])
            own_N = is_own_N[drawn_N]
            ranking = rank_class(values_N[drawn_N], own_N)
            if (area := ranking.roc_auc) is not None:
                areas.append(area)
            if (precision := ranking.average_precision) is not None:
                precisions.append(precision)
            errors.append(sorted_bins(probabilities_N[drawn_N], own_N).error)
        if areas:
            found["roc_auc_macro"].append(float(np.mean(areas)))
        if precisions:
            found["average_precision_macro"].append(float(np.mean(precisions)))
        found["classwise_ece"].append(float(np.mean(errors)))
    intervals = {name: percentiles(values) for name, values in found.items() if values}
    intervals["classwise_ece"] = _basic(found["classwise_ece"], measured["classwise_ece"])
    return intervals


def percentiles(values: list[float] | Floats) -> Interval:
    """The interval between the outer percentiles of resampled values."""
    low, high = np.quantile(np.asarray(values), _tails())
    return Interval(float(low), float(high))


def _basic(values: list[float], measured: float) -> Interval:
    low, high = percentiles(values)
    # Where noise is most of the error, even the upper end would be below what was measured.
    return Interval(max(2 * measured - high, 0.0), max(2 * measured - low, measured))


def _tails() -> list[float]:
    return [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


def resamples(count: int, num_resamples: int, seed: int) -> Iterator[Integers]:
    """How often each image is drawn, for each resample."""
    generator = np.random.default_rng(seed)
    for _ in range(num_resamples):
        yield np.bincount(generator.integers(0, count, count), minlength=count)
