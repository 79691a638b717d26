"""What a run returns at the end: its scores, and where they are."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imgcls.datasets.labelled_images import SkippedImage


@dataclass(frozen=True, slots=True)
class Score:
    """An epoch's figures on the validation images; None where there are none.

    Attributes:
        epoch: counted from 1.
        top1: fraction; None where images have several labels.
        loss: mean cross-entropy.
        map: mean average precision, where images have several labels; else None, and not written.
    """

    epoch: int
    top1: float | None
    loss: float | None
    map: float | None = None

    @property
    def main(self) -> float | None:
        """What counts first: top-1, or mAP."""
        return self.top1 if self.map is None else self.map

    @property
    def name(self) -> str:
        """What that is called."""
        return "top-1" if self.map is None else "mAP"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return without_map(asdict(self))

    def beats(self, other: "Score | None") -> bool:
        """Whether this is the better epoch: higher top-1 or mAP, then lower loss; without validation the later one."""
        if other is None or self.main is None or self.loss is None or other.main is None or other.loss is None:
            return True
        return (self.main, -self.loss) > (other.main, -other.loss)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run came to.

    Attributes:
        run: the run's folder.
        best, last: scores of the epochs behind best.pt and the last whole epoch; None before the first has ended.
        epochs: whole epochs done.
        train_sec: in training steps alone: loading, validation and saving are left out.
        images_per_sec: training images over train_sec.
        skipped: damaged files that were left out of training and validation.
        device: that the run ended on.
        num_processes: that trained together, at the end.
        seed: of the recipe.
        precision: `fp32`, `bf16` or `fp16`.
        data: where the training images came from, as `DataDescription.to_dict` has it.
        start: where the weights came from that it began with, as `Origin.to_dict` has it; None for random ones.
        stopped: why the run ended before its last epoch: a signal's name, `max-time`, `diverged`, or `early` where
            nothing got better; None if it didn't.
        test: figures of best.pt on the data set's test images, if it has any and the run is complete, be it early.
    """

    run: Path
    best: Score | None
    last: Score | None
    epochs: int
    train_sec: float
    images_per_sec: float
    skipped: tuple[SkippedImage, ...]
    device: str
    num_processes: int
    seed: int
    precision: str
    data: dict[str, Any]
    start: dict[str, Any] | None = None
    stopped: str | None = None
    test: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer of `imgcls train`."""
        return {
            "schema": 1,
            "run": str(self.run),
            "best": self.best.to_dict() if self.best else None,
            "last": self.last.to_dict() if self.last else None,
            "test": self.test,
            "epochs": self.epochs,
            "train_sec": round(self.train_sec, 3),
            "images_per_sec": round(self.images_per_sec, 1),
            "skipped_images": len(self.skipped),
            "device": self.device,
            "processes": self.num_processes,
            "precision": self.precision,
            "seed": self.seed,
            "data": self.data,
            "start": self.start,
            "stopped": self.stopped,
        }


def without_map(values: dict[str, Any]) -> dict[str, Any]:
    """Values without a mean average precision that there is none of, as earlier versions wrote them."""
    return {key: value for key, value in values.items() if key != "map" or value is not None}
