"""What measuring a network came to: counts, divided once.

Shapes: N images, K classes of the model.
"""

from dataclasses import dataclass, field
from functools import cached_property

from torch import Tensor

from imgcls.evaluation.figures.scores import ImageScores


@dataclass(frozen=True, slots=True)
class ClassResult:
    """The figures of one class.

    Attributes:
        label: its name.
        count: images whose true class it is.
        correct: how many of them the network classifies correctly.
        accuracy: correct / count, or None where the data has no such image.
    """

    label: str
    count: int
    correct: int
    accuracy: float | None


@dataclass(frozen=True)
class EvalResult:
    """The figures of a network on labelled images.

    Attributes:
        labels: the model's classes, in the order of its outputs.
        confusion_KK: images by true class (rows) and first guess (columns), int64, on the CPU.
        top5_correct: images whose true class is among the first min(5, K) guesses.
        loss: mean cross-entropy per image, in nats; not finite where the outputs of the network aren't.
        scores: of each image, where they were asked for.
    """

    labels: tuple[str, ...]
    confusion_KK: Tensor
    top5_correct: int
    loss: float
    scores: ImageScores | None = field(default=None, repr=False, compare=False)

    @cached_property
    def count(self) -> int:
        """Images measured."""
        return int(self.confusion_KK.sum())

    @cached_property
    def correct(self) -> int:
        """Images whose first guess is the true class."""
        return int(self.confusion_KK.trace())

    @property
    def top1(self) -> float:
        """Share of the images whose first guess is right, in [0, 1]."""
        return self.correct / self.count

    @property
    def top5(self) -> float:
        """Share of the images whose true class is among the first min(5, K) guesses, in [0, 1]."""
        return self.top5_correct / self.count

    @cached_property
    def classes(self) -> tuple[ClassResult, ...]:
        """Each class's own figures, in the order of the outputs."""
        counts, rights = self.confusion_KK.sum(1).tolist(), self.confusion_KK.diagonal().tolist()
        return tuple(
            ClassResult(label, count, right, right / count if count else None)
            for label, count, right in zip(self.labels, counts, rights, strict=True)
        )
