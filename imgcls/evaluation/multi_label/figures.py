"""All figures of an evaluation with several labels per image, each with its interval.

Shapes: N images, D classes of the data, R resamples.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgcls.evaluation.figures.bootstrap import LEAST_RESAMPLES, MAX_VALUES, NUM_RESAMPLES, percentiles, resamples
from imgcls.evaluation.figures.intervals import Interval, wilson_interval
from imgcls.evaluation.figures.measured import SEED
from imgcls.evaluation.figures.ranking import rank_class
from imgcls.evaluation.figures.scores import Booleans, Floats, Floats32
from imgcls.evaluation.multi_label.measuring import MultiLabelResult


@dataclass(frozen=True)
class LabelFigures:
    """What is known of one class; each figure is None where it is not defined.

    Attributes:
        label: its name.
        count: images that show it.
        guessed: images for which it is answered, at its threshold.
        right: images of both kinds.
        threshold: of its probability.
        average_precision: mean over its images of the precision at each one's probability.
        roc_auc: area under its ROC curve.
        loss: mean binary cross-entropy, in nats.
    """

    label: str
    count: int
    guessed: int
    right: int
    threshold: float
    average_precision: float | None
    roc_auc: float | None
    loss: float | None

    @property
    def precision(self) -> float | None:
        """Share of the images it is answered for that show it."""
        return self.right / self.guessed if self.guessed else None

    @property
    def recall(self) -> float | None:
        """Share of the images that show it for which it is answered."""
        return self.right / self.count if self.count else None

    @property
    def f1(self) -> float | None:
        """Harmonic mean of both; None where neither an image nor an answer has it."""
        total = self.guessed + self.count
        return 2 * self.right / total if total else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        shares = {"precision": (self.right, self.guessed), "recall": (self.right, self.count)}
        return {
            "label": self.label,
            "count": self.count,
            "guessed": self.guessed,
            "threshold": self.threshold,
            "average_precision": self.average_precision,
            "roc_auc": self.roc_auc,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "loss": self.loss,
            "intervals": {name: list(wilson_interval(*share)) for name, share in shares.items() if share[1]},
        }


@dataclass(frozen=True)
class MultiLabelFigures:
    """All figures of an evaluation.

    Attributes:
        values: by name; None where one is not defined.
        intervals: 95 %, of those that have one.
        classes: each class's own, in the order of the result.
    """

    values: dict[str, float | None]
    intervals: dict[str, Interval]
    classes: tuple[LabelFigures, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: each figure with the ends of its interval, or None."""
        return {
            name: {"value": value, "low": low, "high": high}
            for name, value in self.values.items()
            for low, high in [self.intervals.get(name, (None, None))]
        }


def measure_labels(result: MultiLabelResult, thresholds_D: Floats32) -> MultiLabelFigures:
    """Compute all figures.

    Args:
        result: what the network said.
        thresholds_D: of the classes of the result.
    """
    guesses_ND = result.probabilities_ND >= thresholds_D
    truth_ND = result.truth_ND
    losses_D = result.losses_ND.mean(0, dtype=np.float64)
    classes = tuple(
        LabelFigures(
            label=label,
            count=int(truth_ND[:, place].sum()),
            guessed=int(guesses_ND[:, place].sum()),
            right=int((guesses_ND[:, place] & truth_ND[:, place]).sum()),
            threshold=float(f"{thresholds_D[place]:.6g}"),
            average_precision=result.average_precisions[place],
            roc_auc=rank_class(result.probabilities_ND[:, place], truth_ND[:, place]).roc_auc,
            loss=float(losses_D[place]) if math.isfinite(losses_D[place]) else None,
        )
        for place, label in enumerate(result.labels)
    )
    exact = int((guesses_ND == truth_ND).all(1).sum())
    areas = [each.roc_auc for each in classes if each.roc_auc is not None]
    values: dict[str, float | None] = {
        "map": result.mean_ap,
        **_f1_values(truth_ND, guesses_ND, np.ones(len(truth_ND))),
        "precision_micro": _share(sum(each.right for each in classes), sum(each.guessed for each in classes)),
        "recall_micro": _share(sum(each.right for each in classes), sum(each.count for each in classes)),
        "exact_match": exact / result.count,
        "hamming_loss": float((guesses_ND != truth_ND).mean()),
        "roc_auc_macro": float(np.mean(areas)) if areas else None,
        "loss": result.loss if math.isfinite(result.loss) else None,
    }
    intervals = {"exact_match": wilson_interval(exact, result.count)} | _bootstrap(result, guesses_ND)
    return MultiLabelFigures(values, {name: ends for name, ends in intervals.items() if values.get(name)}, classes)


def _f1_values(truth_ND: Booleans, guesses_ND: Booleans, weights_N: Floats) -> dict[str, float | None]:
    """F1 over all answers, and the mean over the classes that an image or an answer has."""
    right_D = weights_N @ (truth_ND & guesses_ND)
    total_D = weights_N @ truth_ND + weights_N @ guesses_ND
    known_D = total_D > 0
    return {
        "f1_macro": float((2 * right_D[known_D] / total_D[known_D]).mean()) if known_D.any() else None,
        "f1_micro": _share(2 * right_D.sum(), total_D.sum()),
    }


def _bootstrap(result: MultiLabelResult, guesses_ND: Booleans) -> dict[str, Interval]:
    """Percentile intervals of mAP and F1; none where they would take too long."""
    num_images, num_classes = result.truth_ND.shape
    count = min(NUM_RESAMPLES, MAX_VALUES // max(num_images * num_classes, 1))
    if count < LEAST_RESAMPLES:
        return {}
    found: dict[str, list[float]] = {}
    ranked = RankedLabels.of(result)
    for drawn_N in resamples(num_images, count, SEED):
        weights_N = drawn_N.astype(np.float64)
        values = {"map": ranked.mean_ap(weights_N), **_f1_values(result.truth_ND, guesses_ND, weights_N)}
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {name: percentiles(values) for name, values in found.items()}


@dataclass(frozen=True)
class RankedLabels:
    """Images by falling probability of each class, ready to be weighted anew.

    Attributes:
        order_ND: of the images.
        own_ND: whether they show the class, in that order.
        last_ND: the place of the last image of the same probability.
    """

    order_ND: "np.ndarray[Any, np.dtype[np.int64]]"
    own_ND: Booleans
    last_ND: "np.ndarray[Any, np.dtype[np.int64]]"

    @classmethod
    def of(cls, result: MultiLabelResult) -> "RankedLabels":
        """Sort once."""
        order_ND = np.argsort(-result.probabilities_ND, axis=0, kind="stable")
        values_ND = np.take_along_axis(result.probabilities_ND, order_ND, axis=0)
        places_ND = np.broadcast_to(np.arange(len(values_ND))[:, None], values_ND.shape).copy()
        places_ND[:-1][values_ND[:-1] == values_ND[1:]] = len(values_ND)
        last_ND = np.minimum.accumulate(places_ND[::-1], axis=0)[::-1]
        return cls(order_ND, np.take_along_axis(result.truth_ND, order_ND, axis=0), last_ND)

    def mean_ap(self, weights_N: Floats) -> float | None:
        """mAP of a sample that has each image as often as its weight says."""
        all_ND = weights_N[self.order_ND]
        own_ND = all_ND * self.own_ND
        sums_all_ND, sums_own_ND = np.cumsum(all_ND, axis=0), np.cumsum(own_ND, axis=0)
        with np.errstate(invalid="ignore"):
            precision_ND = np.take_along_axis(sums_own_ND, self.last_ND, 0) / np.take_along_axis(
                sums_all_ND, self.last_ND, 0
            )
            # Where nothing was drawn yet there is nothing to weigh either.
            found_D = (own_ND * np.nan_to_num(precision_ND)).sum(0) / sums_own_ND[-1]
        known_D = sums_own_ND[-1] > 0
        return float(found_D[known_D].mean()) if known_D.any() else None


def _share(part: float, total: float) -> float | None:
    return float(part / total) if total else None
