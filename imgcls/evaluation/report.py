"""The answer of `eval`: the figures, and everything that is needed to trace them."""

import csv
import io
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from imgcls.evaluation.figures.measured import Figures, measure_figures
from imgcls.evaluation.measured_report import SCHEMA, MeasuredReport
from imgcls.evaluation.result import EvalResult

# A matrix of as many classes as ImageNet has is 2 MB of JSON; one of 4,000 classes would be 32.
MAX_DENSE_CLASSES = 1000


class Confusion(NamedTuple):
    """One kind of mistake.

    Attributes:
        true: the true class of the images.
        guessed: the class that the model finds most probable.
        num_images: how many images.
        share: num_images over all images of the true class, in (0, 1].
    """

    true: str
    guessed: str
    num_images: int
    share: float


@dataclass(frozen=True)
class EvalReport(MeasuredReport):
    """What `eval` answers.

    Attributes:
        result: the figures.
    """

    result: EvalResult

    @cached_property
    def figures(self) -> Figures:
        """All figures with their intervals; those that need probabilities where the result has its scores."""
        result = self.result
        return measure_figures(result.confusion_KK, result.scores, num_in_top5=result.top5_correct)

    def confusions(self) -> list[tuple[int, int, int]]:
        """The cells of the confusion matrix that hold images: true class, first guess, count; row by row."""
        matrix_KK = self.result.confusion_KK
        places = matrix_KK.nonzero()
        counts = matrix_KK[places[:, 0], places[:, 1]].tolist()
        return [(true, guessed, count) for (true, guessed), count in zip(places.tolist(), counts, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer, as the contract has it; a figure that is no number is None."""
        result, figures = self.result, self.figures
        cells = self.confusions()
        return {
            "schema": SCHEMA,
            "model": self.model,
            "data": self.data.to_dict(),
            "count": result.count,
            "correct": result.correct,
            "top1": result.top1,
            "top5": result.top5,
            "loss": result.loss if math.isfinite(result.loss) else None,
            "classes": [
                {"label": each.label, "count": each.count, "correct": each.correct, "accuracy": each.accuracy}
                | more.to_dict()
                for each, more in zip(result.classes, figures.classes, strict=True)
            ],
            "confusion": result.confusion_KK.tolist() if len(result.labels) <= MAX_DENSE_CLASSES else None,
            "confusion_sparse": {
                name: [cell[place] for cell in cells] for place, name in enumerate(("true", "guessed", "count"))
            },
            "figures": figures.to_dict(),
            **self.traces(),
        }

    def confusion_csv(self) -> str:
        """The confusion matrix for a spreadsheet: a row per true class, a column per first guess, counts of images."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["true class", *self.result.labels])
        for label, counts in zip(self.result.labels, self.result.confusion_KK.tolist(), strict=True):
            writer.writerow([label, *counts])
        return out.getvalue()

    def largest_confusions(self, count: int = 10) -> list[Confusion]:
        """The most frequent mistakes, falling; equal ones in the order of the classes."""
        totals = self.result.confusion_KK.sum(1).tolist()
        mistakes = sorted((cell for cell in self.confusions() if cell[0] != cell[1]), key=lambda cell: -cell[2])
        labels = self.result.labels
        return [Confusion(labels[row], labels[column], n, n / totals[row]) for row, column, n in mistakes[:count]]
