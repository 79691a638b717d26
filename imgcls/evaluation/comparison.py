"""Two models on the same images: which of them is better, and on which images they differ.

Shapes: N images that both have measured.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.errors import DataError
from imgcls.evaluation.figures.intervals import LEVEL, Interval, Z
from imgcls.evaluation.report import EvalReport

SCHEMA = 1


@dataclass(frozen=True)
class PairedImage:
    """One image and what both models say.

    Attributes:
        name: of the image.
        label: its true class.
        guess_a, guess_b: the first guess of each model.
        probability_a, probability_b: theirs.
        row_a: its row in the scores of the first model.
    """

    name: str
    label: str
    guess_a: str
    probability_a: float
    guess_b: str
    probability_b: float
    row_a: int

    @property
    def is_right_a(self) -> bool:
        """Whether the first model is right."""
        return self.guess_a == self.label

    @property
    def is_right_b(self) -> bool:
        """Whether the second model is right."""
        return self.guess_b == self.label

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "input": self.name,
            "label": self.label,
            "a": {"label": self.guess_a, "probability": self.probability_a},
            "b": {"label": self.guess_b, "probability": self.probability_b},
        }


@dataclass(frozen=True)
class PairedComparison:
    """Two models on the same images.

    Attributes:
        report_a, report_b: what each has measured on its own.
        images: those that both have measured.
        num_left_out: images that only one of them has measured.
    """

    report_a: EvalReport
    report_b: EvalReport
    images: tuple[PairedImage, ...]
    num_left_out: int = 0

    @cached_property
    def only_a(self) -> list[PairedImage]:
        """Images that only the first model gets right, the surest mistakes of the other one first."""
        found = [each for each in self.images if each.is_right_a and not each.is_right_b]
        return sorted(found, key=lambda each: -each.probability_b)

    @cached_property
    def only_b(self) -> list[PairedImage]:
        """Images that only the second model gets right, the surest mistakes of the other one first."""
        found = [each for each in self.images if each.is_right_b and not each.is_right_a]
        return sorted(found, key=lambda each: -each.probability_a)

    @cached_property
    def both(self) -> int:
        """Images that both get right."""
        return sum(each.is_right_a and each.is_right_b for each in self.images)

    @property
    def neither(self) -> int:
        """Images that both get wrong."""
        return len(self.images) - self.both - len(self.only_a) - len(self.only_b)

    @property
    def difference(self) -> float:
        """Accuracy of the second model less that of the first."""
        return (len(self.only_b) - len(self.only_a)) / len(self.images)

    @property
    def interval(self) -> Interval:
        """Of the difference, 95 %."""
        return difference_interval(len(self.only_a), len(self.only_b), len(self.images))

    @property
    def p_value(self) -> float:
        """How probable so unequal counts are where both models are equally good; see `mcnemar_exact`."""
        return mcnemar_exact(len(self.only_a), len(self.only_b))

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer."""
        right_a, right_b = self.both + len(self.only_a), self.both + len(self.only_b)
        return {
            "schema": SCHEMA,
            "data": self.report_a.data.to_dict(),
            "count": len(self.images),
            "left_out": self.num_left_out,
            "a": {"model": self.report_a.model, "correct": right_a, "top1": right_a / len(self.images)},
            "b": {"model": self.report_b.model, "correct": right_b, "top1": right_b / len(self.images)},
            "both": self.both,
            "only_a": len(self.only_a),
            "only_b": len(self.only_b),
            "neither": self.neither,
            "difference": {"value": self.difference, "low": self.interval.low, "high": self.interval.high},
            "level": LEVEL,
            "mcnemar_p": self.p_value,
            "differing": [each.to_dict() for each in (*self.only_a, *self.only_b)],
            "versions": self.report_a.versions,
        }


def pair_up(
    report_a: EvalReport, images_a: LabelledImages, report_b: EvalReport, images_b: LabelledImages
) -> PairedComparison:
    """Bring two measurements together, image by image.

    Args:
        report_a: of the first model, with its scores.
        images_a: that it was measured on.
        report_b: of the second model, likewise.
        images_b: that it was measured on.
    Raises:
        DataError: they have no image in common.
    """
    answers_a, answers_b = _by_name(report_a, images_a), _by_name(report_b, images_b)
    common = [name for name in answers_a if name in answers_b]
    if not common:
        raise DataError("the two models were measured on different images", hint="name the same --data and --split")
    paired = tuple(
        PairedImage(name, answers_a[name][1], *answers_a[name][2:], *answers_b[name][2:], answers_a[name][0])
        for name in common
    )
    return PairedComparison(report_a, report_b, paired, len(answers_a) + len(answers_b) - 2 * len(common))


def _by_name(report: EvalReport, images: LabelledImages) -> dict[str, tuple[int, str, str, float]]:
    scores, labels = report.result.scores, images.classes
    assert scores is not None
    # The model may call the class otherwise (a WordNet ID stands for its name): the data's word counts for both.
    words: dict[int, str] = {}
    found = {}
    for row, index in enumerate(scores.indices_N.tolist()):
        label = int(scores.labels_N[row])
        words[label] = labels[int(images.labels_N[index])]
        stored, place = images.stored(index)
        found[stored.name(place)] = (row, label, int(scores.guesses_N[row]), float(scores.confidences_N[row]))
    own = report.result.labels
    return {
        name: (row, words[label], words.get(guess, own[guess]), probability)
        for name, (row, label, guess, probability) in found.items()
    }


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """How probable counts at least so unequal are where each differing image is won by a fair coin; two-sided.

    Args:
        only_a: images that only the first model gets right.
        only_b: images that only the second model gets right.
    Source: McNemar 1947; Dietterich 1998, "Approximate statistical tests for comparing supervised classification
    learning algorithms", section 3.1; exact as in Fagerland et al. 2013.
    """
    count, fewer = only_a + only_b, min(only_a, only_b)
    whole = math.lgamma(count + 1) - count * math.log(2)
    tail = math.fsum(
        math.exp(whole - math.lgamma(each + 1) - math.lgamma(count - each + 1)) for each in range(fewer + 1)
    )
    return min(2 * tail, 1.0)


def difference_interval(only_a: int, only_b: int, count: int) -> Interval:
    """For the accuracy of the second model less that of the first, on the same images, 95 %.

    Args:
        only_a: images that only the first model gets right.
        only_b: images that only the second model gets right.
        count: all images.
    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched proportions": half an
    image is added to each of the four counts.
    """
    lost, won, total = only_a + 0.5, only_b + 0.5, count + 2
    centre = (won - lost) / total
    half = Z * math.sqrt(won + lost - (won - lost) ** 2 / total) / total
    return Interval(max(centre - half, -1.0), min(centre + half, 1.0))
