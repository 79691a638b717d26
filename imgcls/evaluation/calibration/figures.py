"""How far probabilities are from what happens: calibration error, Brier score, log loss, each with an interval.

Shapes: N images, K classes, D draws of the bootstrap.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from imgcls.evaluation.figures.calibration_error import expected_calibration_error

DRAWS = 300
# Of the bootstrap: 95 % of the draws lie between.
LOW, HIGH = 0.025, 0.975


class Figure(NamedTuple):
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Figures:
    """What probabilities are worth; the lower each, the better.

    Attributes:
        ece: expected calibration error of the first guess, in 15 bins of equal mass.
        brier: mean squared distance from the one-hot truth, summed over the classes; in [0, 2].
        log_loss: mean of -log p(true class), in nats.
        accuracy: of the first guess; a temperature doesn't change it.
    """

    ece: Figure
    brier: Figure
    log_loss: Figure
    accuracy: Figure

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {name: getattr(self, name).to_dict() for name in ("ece", "brier", "log_loss", "accuracy")}


def figures_of(logits_NK: Tensor, labels_N: Tensor, *, seed: int) -> Figures:
    """All figures of a model's logits.

    Args:
        logits_NK: float.
        labels_N: true classes, int64.
        seed: of the bootstrap.
    """
    probabilities_NK = logits_NK.double().softmax(1)
    confidence_N, guess_N = probabilities_NK.max(1)
    right_N = guess_N == labels_N
    true_N = probabilities_NK.gather(1, labels_N[:, None])[:, 0]
    brier_N = probabilities_NK.square().sum(1) - 2 * true_N + 1
    losses_N = -logits_NK.double().log_softmax(1).gather(1, labels_N[:, None])[:, 0]
    count = len(labels_N)
    draws_DN = torch.randint(count, (DRAWS, count), generator=torch.Generator().manual_seed(seed))
    return Figures(
        ece=_figure(lambda rows: _calibration_error(confidence_N[rows], right_N[rows]), draws_DN),
        brier=_figure(lambda rows: float(brier_N[rows].mean()), draws_DN),
        log_loss=_figure(lambda rows: float(losses_N[rows].mean()), draws_DN),
        accuracy=_figure(lambda rows: float(right_N[rows].double().mean()), draws_DN),
    )


def _calibration_error(confidence_N: Tensor, right_N: Tensor) -> float:
    return expected_calibration_error(confidence_N.numpy(), right_N.numpy())


def _figure(measure: Callable[[Tensor], float], draws_DN: Tensor) -> Figure:
    drawn = torch.tensor([measure(rows) for rows in draws_DN], dtype=torch.float64)
    low, high = torch.quantile(drawn, torch.tensor([LOW, HIGH], dtype=torch.float64)).tolist()
    return Figure(measure(torch.arange(draws_DN.shape[1])), low, high)
