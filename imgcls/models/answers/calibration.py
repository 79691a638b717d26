"""What makes a model's probabilities mean something: a temperature, and sets of labels with a guarantee.

Stored with the model, and applied wherever it answers. Imports neither torch nor torchvision.

Shapes: B batch, K classes.
Source: Guo et al. 2017, "On Calibration of Modern Neural Networks" (temperature and vector scaling); Romano et al.
2020, "Classification with Valid and Adaptive Coverage" (APS); Angelopoulos et al. 2021, "Uncertainty Sets for Image
Classifiers using Conformal Prediction" (RAPS).
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np

from imgcls.images.transform import Floats

Method = Literal["temperature", "vector"]
# More is no scale, offset or threshold, and none of our numbers of images.
LARGEST = 1e30


@dataclass(frozen=True)
class ConformalSets:
    """Which labels belong to an image's set.

    The score of a label is the probability of all labels before it, the most probable first, and a penalty for those
    far behind. A set holds the labels whose score is at most the threshold, so that it always holds the first.

    Attributes:
        coverage: share of images whose set holds the true label, at least, on data like the calibration's; in (0, 1).
        threshold: of the score.
        penalty: of each rank after the free ones; 0 for APS.
        free_ranks: ranks without penalty.
        num_images: that the threshold comes from.
    """

    coverage: float
    threshold: float
    penalty: float
    free_ranks: int
    num_images: int

    def members(self, probabilities_K: Floats) -> list[int]:
        """Classes of an image's set, the most probable first; of equal ones the lower index.

        Args:
            probabilities_K: shape (K,).
        """
        order = np.argsort(-probabilities_K, kind="stable")
        scores = scores_by_rank(probabilities_K[order][None], penalty=self.penalty, free_ranks=self.free_ranks)[0]
        # Scores rise from rank to rank.
        return [int(index) for index in order[: max(int((scores <= self.threshold).sum()), 1)]]


@dataclass(frozen=True)
class Calibration:
    """How logits become calibrated ones: times `scale`, plus `offset`.

    Attributes:
        method: `temperature` (one scale for all classes, no offset) or `vector`.
        scale: positive; of one number for a temperature, else one for each class.
        offset: empty for a temperature, else one for each class.
        num_images: that they were fitted on.
        sets: of labels, where they were asked for.
    """

    method: Method
    scale: tuple[float, ...]
    offset: tuple[float, ...] = ()
    num_images: int = 0
    sets: ConformalSets | None = None

    @property
    def temperature(self) -> float | None:
        """What logits are divided by, where it is one number."""
        return 1 / self.scale[0] if self.method == "temperature" else None

    def apply(self, logits_BK: Floats) -> Floats:
        """Calibrated logits, float32, shape (B, K)."""
        scaled: Floats = logits_BK * np.asarray(self.scale, np.float32)
        return scaled + np.asarray(self.offset, np.float32) if self.offset else scaled

    def describe(self) -> dict[str, Any]:
        """As the `model` object of JSON answers tells it."""
        told: dict[str, Any] = {"method": self.method, "images": self.num_images}
        if self.temperature is not None:
            told["temperature"] = self.temperature
        return told | ({"sets": asdict(self.sets)} if self.sets else {})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and model cards."""
        values = asdict(self)
        return values | {"scale": list(self.scale), "offset": list(self.offset)}

    @classmethod
    def from_dict(cls, values: Any, *, num_classes: int) -> Self:
        """What `to_dict` wrote.

        Raises:
            ValueError: it isn't that, or not for so many classes.
        """
        try:
            sets = values.get("sets")
            found = cls(
                method=values["method"],
                scale=tuple(_number(each) for each in values["scale"]),
                offset=tuple(_number(each) for each in values["offset"]),
                num_images=_count(values.get("num_images", 0)),
                sets=None if sets is None else _sets_of(sets),
            )
            counts = {"temperature": (1, 0), "vector": (num_classes, num_classes)}.get(found.method)
        except (AttributeError, KeyError, TypeError) as exc:
            raise ValueError(f"the calibration can't be read: {exc!r}") from exc
        if counts != (len(found.scale), len(found.offset)):
            raise ValueError(f"the calibration {found.method!r} is not for {num_classes} classes")
        if min(found.scale) <= 0:
            raise ValueError("the calibration has a scale that is not positive")
        return found


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not abs(value) <= LARGEST:
        raise ValueError(f"the calibration holds {str(value)[:40]!r}, which is not a number that can be used")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"the calibration holds {str(value)[:40]!r} where a count is expected")
    return value


def _sets_of(values: dict[str, Any]) -> ConformalSets:
    coverage, threshold, penalty = (_number(values[key]) for key in ("coverage", "threshold", "penalty"))
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage of {coverage}")
    return ConformalSets(coverage, threshold, penalty, _count(values["free_ranks"]), _count(values["num_images"]))


def scores_by_rank(sorted_BK: Floats, *, penalty: float, free_ranks: int) -> Floats:
    """Conformal scores of the labels at each rank: what comes before them, and the penalty.

    Args:
        sorted_BK: probabilities, falling in each row.
        penalty: of each rank after the free ones.
        free_ranks: ranks without penalty.
    Returns:
        float64, shape (B, K); rising in each row.
    """
    before_BK = np.cumsum(sorted_BK, axis=1, dtype=np.float64) - sorted_BK
    before_BK[:, 0] = 0
    ranks_K = np.arange(1, sorted_BK.shape[1] + 1)
    found: Floats = np.maximum.accumulate(before_BK, axis=1) + penalty * np.maximum(ranks_K - free_ranks, 0)
    return found


def sets_of(description: dict[str, Any]) -> ConformalSets | None:
    """The sets that a model's description tells of."""
    sets = (description.get("calibration") or {}).get("sets")
    return ConformalSets(**sets) if sets is not None else None
