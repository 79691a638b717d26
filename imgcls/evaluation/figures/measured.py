"""All figures of an evaluation, each with its interval.

Shapes: N images, K classes.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from imgcls.evaluation.figures.bootstrap import NUM_RESAMPLES, bootstrap, bootstrap_rankings
from imgcls.evaluation.figures.calibration_error import (
    ReliabilityBins,
    classwise_calibration_error,
    reliability_bins,
)
from imgcls.evaluation.figures.class_counts import ClassCounts
from imgcls.evaluation.figures.intervals import LEVEL, Interval, wilson_interval
from imgcls.evaluation.figures.ranking import rank_classes
from imgcls.evaluation.figures.scores import ImageScores

# Of the bootstrap; a choice of no meaning, that makes the same images give the same intervals.
SEED = 0


@dataclass(frozen=True)
class ClassFigures:
    """What is known of one class; each is None where it is not defined.

    Attributes:
        guessed: images that were taken for it.
        precision: share of them that are of the class.
        recall: share of its images that were taken for it, which is its accuracy.
        f1: harmonic mean of both.
        roc_auc: area under its ROC curve, this class against the rest.
        average_precision: mean over its images of the precision at each one's probability.
        loss: mean cross-entropy of its images, in nats.
        intervals: 95 %, by the figure's name, of precision, recall and f1.
    """

    guessed: int
    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None = None
    average_precision: float | None = None
    loss: float | None = None
    intervals: dict[str, Interval] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "guessed": self.guessed,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "roc_auc": self.roc_auc,
            "average_precision": self.average_precision,
            "loss": self.loss,
            "intervals": {name: [low, high] for name, (low, high) in (self.intervals or {}).items()},
        }


@dataclass(frozen=True)
class Figures:
    """All figures of an evaluation.

    Attributes:
        values: by name; None where one is not defined, or could not be computed.
        intervals: 95 %, of those that have one.
        classes: each class's own, in the order of the outputs.
        reliability: accuracy by confidence; None where the probabilities aren't all numbers.
    """

    values: dict[str, float | None]
    intervals: dict[str, Interval]
    classes: tuple[ClassFigures, ...]
    reliability: ReliabilityBins | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: each figure with the ends of its interval, or None."""
        return {
            name: {"value": value, "low": low, "high": high}
            for name, value in self.values.items()
            for low, high in [self.intervals.get(name, (None, None))]
        }


def measure_figures(confusion_KK: Tensor, scores: ImageScores | None, *, num_in_top5: int) -> Figures:
    """Compute all figures.

    Args:
        confusion_KK: images by true class (rows) and first guess (columns), int64, at least one image.
        scores: of the same images; None leaves out what needs probabilities.
        num_in_top5: images whose true class is among the first five guesses.
    """
    counts = _counts(confusion_KK)
    num_classes, count = len(counts.true_K), int(counts.count)
    right = int(counts.right_K.sum())
    values: dict[str, float | None] = {"top1": right / count}
    intervals = {"top1": wilson_interval(right, count)}
    if num_classes > 5:
        values["top5"], intervals["top5"] = num_in_top5 / count, wilson_interval(num_in_top5, count)
    values |= counts.averages()
    usable = scores if scores is not None and scores.are_finite else None
    areas: list[float | None] = [None] * num_classes
    precisions, losses = list(areas), list(areas)
    f1_intervals_K2 = np.full((num_classes, 2), np.nan)
    reliability = None
    if usable is not None:
        reliability = reliability_bins(usable.confidences_N, usable.correct_N)
        values |= {"log_loss": float(usable.losses_N.mean()), "brier": float(usable.brier_N.mean())}
        values["ece"] = reliability.error
        losses = _by_class(usable, counts)
        found, f1_intervals_K2 = bootstrap(usable, num_classes, seed=SEED)
        intervals |= found
        if usable.log_probabilities_NK is not None:
            rankings = rank_classes(usable.log_probabilities_NK, usable.labels_N)
            areas, precisions = [each.roc_auc for each in rankings], [each.average_precision for each in rankings]
            values |= {"roc_auc_macro": _mean(areas), "average_precision_macro": _mean(precisions)}
            error = classwise_calibration_error(usable.log_probabilities_NK, usable.labels_N)
            values["classwise_ece"] = error
            intervals |= bootstrap_rankings(usable, {"classwise_ece": error}, seed=SEED)
    # These three are the accuracy, whose interval is an exact one.
    intervals |= {f"{name}_micro": intervals["top1"] for name in ("precision", "recall", "f1")}
    classes = tuple(
        ClassFigures(
            guessed=int(counts.guessed_K[label]),
            precision=_number(counts.precisions_K[label]),
            recall=_number(counts.recalls_K[label]),
            f1=_number(counts.f1_K[label]),
            roc_auc=areas[label],
            average_precision=precisions[label],
            loss=losses[label],
            intervals=_class_intervals(counts, label, f1_intervals_K2[label].tolist()),
        )
        for label in range(num_classes)
    )
    return Figures(values, intervals, classes, reliability)


def interval_facts() -> dict[str, Any]:
    """How the intervals were made, for the JSON answer."""
    return {"level": LEVEL, "shares": "wilson", "others": "bootstrap", "resamples": NUM_RESAMPLES, "seed": SEED}


def _counts(confusion_KK: Tensor) -> ClassCounts:
    return ClassCounts(
        confusion_KK.sum(1).double().numpy(),
        confusion_KK.sum(0).double().numpy(),
        confusion_KK.diagonal().double().numpy(),
    )


def _class_intervals(counts: ClassCounts, label: int, f1_ends: list[float]) -> dict[str, Interval]:
    right = int(counts.right_K[label])
    found = {}
    if guessed := int(counts.guessed_K[label]):
        found["precision"] = wilson_interval(right, guessed)
    if true := int(counts.true_K[label]):
        found["recall"] = wilson_interval(right, true)
    if all(map(math.isfinite, f1_ends)):
        found["f1"] = Interval(*f1_ends)
    return found


def _by_class(scores: ImageScores, counts: ClassCounts) -> list[float | None]:
    sums_K = np.bincount(scores.labels_N, scores.losses_N, len(counts.true_K))
    return [total / count if count else None for total, count in zip(sums_K.tolist(), counts.true_K, strict=True)]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
