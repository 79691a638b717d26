"""Figures that follow from three counts per class: its images, its guesses, its hits.

Shapes: K classes.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imgcls.evaluation.figures.scores import Floats


@dataclass(frozen=True)
class ClassCounts:
    """What a confusion matrix says of each class.

    Attributes:
        true_K: images of the class.
        guessed_K: images that were taken for it.
        right_K: images of it that were taken for it.
    """

    true_K: Floats
    guessed_K: Floats
    right_K: Floats

    @cached_property
    def count(self) -> float:
        """Images in all."""
        return float(self.true_K.sum())

    @cached_property
    def recalls_K(self) -> Floats:
        """Share of each class's images that were recognised; not a number for a class without images."""
        return _divided(self.right_K, self.true_K)

    @cached_property
    def precisions_K(self) -> Floats:
        """Share of the guesses of each class that were right; not a number for a class that was never guessed."""
        return _divided(self.right_K, self.guessed_K)

    @cached_property
    def f1_K(self) -> Floats:
        """Harmonic mean of precision and recall; not a number for a class that has neither images nor guesses."""
        return _divided(2 * self.right_K, self.true_K + self.guessed_K)

    def averages(self) -> dict[str, float]:
        """Means over the classes of which the data has images, by name.

        A class that was never guessed has a precision of 0 there. `macro` counts each class once, `weighted` each by
        its images; the micro average of all three is the accuracy, as every image has one class and one guess.
        `balanced_accuracy` is the macro recall (Brodersen et al. 2010), `mcc` the correlation between true classes and
        guesses (Matthews 1975; for several classes Gorodkin 2004, 0 where it is not defined).
        """
        has_images_K = self.true_K > 0
        weights_K = self.true_K[has_images_K] / self.count
        found = {}
        for name, values_K in (("precision", self.precisions_K), ("recall", self.recalls_K), ("f1", self.f1_K)):
            kept_K = np.nan_to_num(values_K[has_images_K])
            found[f"{name}_macro"] = float(kept_K.mean())
            found[f"{name}_weighted"] = float((kept_K * weights_K).sum())
        accuracy = float(self.right_K.sum() / self.count)
        found |= {f"{name}_micro": accuracy for name in ("precision", "recall", "f1")}
        return found | {"balanced_accuracy": found["recall_macro"], "mcc": self._mcc()}

    def _mcc(self) -> float:
        right = float(self.right_K.sum())
        covariance = right * self.count - float(self.true_K @ self.guessed_K)
        spreads = (self.count**2 - float(self.guessed_K @ self.guessed_K)) * (
            self.count**2 - float(self.true_K @ self.true_K)
        )
        return covariance / spreads**0.5 if spreads > 0 else 0.0


def _divided(numerators_K: Floats, denominators_K: Floats) -> Floats:
    shares_K = np.full(len(numerators_K), np.nan)
    np.divide(numerators_K, denominators_K, out=shares_K, where=denominators_K > 0)
    return shares_K
