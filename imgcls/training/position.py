"""Where a run stands, and what an epoch's training pass came to."""

from dataclasses import dataclass
from typing import Any

from imgcls.distributed.process_group import Processes
from imgcls.runs.events import EpochEnd
from imgcls.runs.result import Score


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        epoch: whole epochs done.
        batch: batches done of the epoch that is under way.
        step: optimiser steps done in all.
        loss_total, loss_count: of this process in the epoch under way, for its mean loss.
        correct: images of this process in the epoch under way that were classified correctly.
        images: images trained on in all, by all processes.
        train_sec: spent in steps.
        epoch_images, epoch_sec: the same of the epoch under way.
        elapsed_sec: since the run began, without the time that a cut run lay still.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_total: float = 0.0
    loss_count: int = 0
    correct: int = 0
    images: int = 0
    train_sec: float = 0.0
    elapsed_sec: float = 0.0
    epoch_images: int = 0
    epoch_sec: float = 0.0

    def begin_next_epoch(self) -> None:
        """The epoch under way is done."""
        self.epoch, self.batch, self.loss_total, self.loss_count, self.correct = self.epoch + 1, 0, 0.0, 0, 0
        self.epoch_images, self.epoch_sec = 0, 0.0

    def train_top1(self, processes: Processes) -> float | None:
        """Of the epoch's images, as they were augmented, while the weights moved; every process calls this."""
        everybody = processes.gather((self.correct, self.loss_count))
        correct, count = (sum(values) for values in zip(*everybody, strict=True))
        return correct / count if count else None


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """What the training pass of an epoch came to; see `EpochEnd`."""

    train_loss: float
    train_top1: float | None
    lr: float
    seconds: float
    images_per_sec: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures after an epoch, and the epoch they belong to."""

    epoch: EpochEnd
    metrics: dict[str, Any]

    @property
    def score(self) -> Score:
        """What chooses best.pt."""
        return self.epoch.score
