"""A run's figures for TensorBoard, in the run's own folder; the only module that imports it."""

import importlib.util
from types import TracebackType
from typing import TYPE_CHECKING, Self

from imgcls.errors import UsageError
from imgcls.host.files import output_error
from imgcls.runs.events import EpochEnd, Event, Started, StepProgress
from imgcls.runs.result import TrainResult

if TYPE_CHECKING:
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Say how to get TensorBoard where it is missing; doesn't import it.

    Raises:
        UsageError: it isn't installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard needs tensorboard, which is not installed", hint="pip install 'imgcls[tensorboard]'"
        )


class TensorBoardLog:
    """Listens to a run's events and writes them to RUN/tensorboard.

        with TensorBoardLog() as log:
            result = train(recipe, on_event=log.on_event)
            log.finish(result)

    The axis is the number of steps. What a cut run wrote beyond the point where it goes on is hidden by TensorBoard, so
    that the curves don't jump back.

    Raises:
        UsageError: TensorBoard isn't installed.
    """

    def __init__(self) -> None:
        require_tensorboard()
        self._started: Started | None = None
        self._writer: SummaryWriter | None = None
        # Epoch, step within it and mean loss up to there, of the last point.
        self._last = (0, 0, 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def on_event(self, event: Event) -> None:
        """Write what an event tells.

        Raises:
            OutputError: it can't be written.
        """
        if isinstance(event, Started):
            self._started = event
        elif isinstance(event, StepProgress):
            self._write_progress(event)
        elif isinstance(event, EpochEnd) and self._started is not None:
            figures = {"train/epoch_loss": event.train_loss}
            if event.loss is not None and event.top1 is not None and event.top5 is not None:
                split = self._started.validates_on
                figures |= {f"{split}/loss": event.loss, f"{split}/top1": event.top1, f"{split}/top5": event.top5}
            elif event.loss is not None and event.map is not None:
                split = self._started.validates_on
                figures |= {f"{split}/loss": event.loss, f"{split}/map": event.map}
            self._write(figures, event.epoch * self._started.steps_per_epoch)

    def finish(self, result: TrainResult) -> None:
        """Write the figures on the test images, if the run has any.

        Raises:
            OutputError: it can't be written.
        """
        if result.test is not None and self._started is not None and self._writer is not None:
            keys = ("loss", "map") if "map" in result.test else ("loss", "top1", "top5")
            figures = {f"test/best_{key}": result.test[key] for key in keys}
            self._write(figures, result.epochs * self._started.steps_per_epoch)

    def _write_progress(self, event: StepProgress) -> None:
        epoch, step, mean = self._last
        if epoch != event.epoch:
            step, mean = 0, 0.0
        self._last = (event.epoch, event.step, event.loss)
        if event.step == step:
            return
        # The event has the mean since the epoch's start, which would jump from one epoch to the next.
        loss = (event.loss * event.step - mean * step) / (event.step - step)
        figures = {"train/loss": loss, "train/lr": event.lr, "train/images_per_sec": event.images_per_sec}
        self._write(figures, (event.epoch - 1) * event.steps_per_epoch + event.step)

    def _write(self, figures: dict[str, float], step: int) -> None:
        assert self._started is not None
        folder = self._started.run / FOLDER
        try:
            if self._writer is None:
                self._writer = self._open(folder)
            for name, value in figures.items():
                self._writer.add_scalar(name, value, step)
        except OSError as exc:
            raise output_error(folder, exc) from exc

    def _open(self, folder: "Path") -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter

        assert self._started is not None
        started = self._started
        done = started.done_epochs * started.steps_per_epoch + started.done_steps
        writer = SummaryWriter(str(folder), purge_step=done + 1 if done else None)
        recipe = (started.run / "config.toml").read_text(encoding="utf-8")
        # TensorBoard shows Markdown.
        writer.add_text("recipe", "\n".join(f"    {line}" for line in recipe.splitlines()), done)
        return writer
