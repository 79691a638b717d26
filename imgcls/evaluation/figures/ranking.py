"""How well each class's probability ranks its own images before all others.

Shapes: N images, K classes, P images of one class.
"""

from dataclasses import dataclass

import numpy as np

from imgcls.evaluation.figures.calibration_error import COLUMNS
from imgcls.evaluation.figures.scores import Floats, Floats32, Integers


@dataclass(frozen=True)
class ClassRanking:
    """Where the images of one class stand among all, by rising probability of the class.

    Attributes:
        before_P: of each of them, how many images stand strictly before it.
        until_P: how many stand before it or equal with it, itself among them.
        own_before_P, own_until_P: the same, of the images of the class alone.
        count: images in all.
    """

    before_P: Integers
    until_P: Integers
    own_before_P: Integers
    own_until_P: Integers
    count: int

    @property
    def roc_auc(self) -> float | None:
        """Area under the ROC curve, one class against the rest; None where one side is empty.

        That is the share of pairs of an image of the class and another one that are ranked right; equal ones count
        half (Hanley and McNeil 1982).
        """
        own = len(self.before_P)
        others = self.count - own
        if not own or not others:
            return None
        below = (self.before_P - self.own_before_P).sum()
        equal = ((self.until_P - self.before_P) - (self.own_until_P - self.own_before_P)).sum()
        return float((below + equal / 2) / (own * others))

    @property
    def average_precision(self) -> float | None:
        """Mean over its images of the precision at each one's probability; None where the class has none.

        Without interpolation, as in Manning et al. 2008, section 8.4.
        """
        own = len(self.before_P)
        if not own:
            return None
        return float(((own - self.own_before_P) / (self.count - self.before_P)).mean())


def rank_class(values_N: Floats32 | Floats, is_own_N: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> ClassRanking:
    """Rank the images of one class.

    Args:
        values_N: its probability, or anything that rises with it.
        is_own_N: whether each image is of the class.
    """
    own_P = values_N[is_own_N]
    sorted_N, sorted_P = np.sort(values_N), np.sort(own_P)
    return ClassRanking(
        np.searchsorted(sorted_N, own_P, side="left"),
        np.searchsorted(sorted_N, own_P, side="right"),
        np.searchsorted(sorted_P, own_P, side="left"),
        np.searchsorted(sorted_P, own_P, side="right"),
        len(values_N),
    )


def rank_classes(log_probabilities_NK: Floats32, labels_N: Integers) -> list[ClassRanking]:
    """Rank the images of each class; see `rank_class`.

    Args:
        log_probabilities_NK: natural logarithms.
        labels_N: true classes.
    """
    found = []
    for start in range(0, log_probabilities_NK.shape[1], COLUMNS):
        block_KN = np.ascontiguousarray(log_probabilities_NK[:, start : start + COLUMNS].T)
        found += [rank_class(column_N, labels_N == start + offset) for offset, column_N in enumerate(block_KN)]
    return found
