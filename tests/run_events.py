"""Events of a training run that never was, for what listens to them."""

import dataclasses
from pathlib import Path

from imgcls.runs.events import EpochEnd, Stage, Started, StepProgress

# 4 epochs of 10 steps.
STARTED = Started(
    run=Path("run"), model="cnn", num_parameters=1, num_classes=10, origin=None, num_train=1000, num_val=100,
    num_test=0, validates_on="val", epochs=4, steps_per_epoch=10, stages=(Stage(40, 32),), done_epochs=0, done_steps=0,
    device="cpu", reason="asked for", num_processes=1, precision="fp32", skipped=(), warnings=(),
    frozen_epochs=0, changing=(),
)  # fmt: skip


def started(**changes: object) -> Started:
    """`STARTED` with other values."""
    return dataclasses.replace(STARTED, **changes)  # type: ignore[arg-type]


def progress(epoch: int, step: int) -> StepProgress:
    """So many steps of an epoch are done."""
    return StepProgress(
        epoch=epoch, step=step, steps_per_epoch=STARTED.steps_per_epoch, loss=2 / epoch, lr=0.1, images_per_sec=500.0
    )


def epoch_end(epoch: int, **changes: object) -> EpochEnd:
    """An epoch's figures, better from one to the next."""
    event = EpochEnd(
        epoch=epoch, step=10 * epoch, lr=0.1, train_loss=2 / epoch, split="val", loss=2.5 / epoch,
        top1=1 - 1 / (epoch + 1), top5=1.0, seconds=2.0, images_per_sec=500.0, images=1000 * epoch,
        validation_sec=1.0, elapsed_sec=3.0 * epoch,
    )  # fmt: skip
    return dataclasses.replace(event, **changes)  # type: ignore[arg-type]
