"""What a person sees of a training run: a live bar on a terminal, else a line an epoch."""

import contextlib
import shlex
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from imgcls.cli import console
from imgcls.data.labelled import SkippedImage
from imgcls.models.starting import Origin
from imgcls.training.events import EpochEnd, Event, FeatureProgress, Score, Started, StepProgress, TrainResult
from imgcls.training.stopping import EARLY, MAX_TIME

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Damaged files that are named before the rest is only counted.
SHOWN = 5
# The display shares two cores with the training.
REFRESH_PER_SEC = 4


class TrainDisplay:
    """Turns a run's events into lines on stderr, and on a terminal into a bar below them.

    Args:
        on_started: called when the first step comes next.
        verbose: name every damaged file, and say what else is known.
    """

    def __init__(self, *, on_started: Callable[[], None] = lambda: None, verbose: bool = False) -> None:
        self.verbose = verbose
        self._on_started = on_started
        self._started: Started | None = None
        self._said_skipped = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._decoding: TaskID | None = None
        self._keeping: TaskID | None = None
        self._downloads = contextlib.ExitStack()
        self._download: dict[str, Callable[[int, int | None], None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._downloads.close()
        if self._bar is not None:
            self._bar.stop()

    def downloading_data(self, done: int, total: int | None) -> None:
        """Bytes of the data set downloaded so far."""
        self._show_download("CIFAR-10", done, total)

    def downloading_weights(self, done: int, total: int | None) -> None:
        """Bytes of published weights downloaded so far."""
        self._show_download("weights", done, total)

    def _show_download(self, what: str, done: int, total: int | None) -> None:
        if what not in self._download:
            # Begun with the first byte and ended before the next bar: two bars at once would draw over each other.
            self._downloads.close()
            self._download = {what: self._downloads.enter_context(console.download_progress(what))}
        self._download[what](done, total)

    def decoding(self, done: int, total: int) -> None:
        """Pictures decoded so far, while the data set is opened for the first time."""
        self._downloads.close()
        bar = self._live_bar()
        if bar is None:
            return
        if self._decoding is None:
            self._decoding = bar.add_task("decoding", total=total, note="")
        bar.update(self._decoding, completed=done, note=f"{done:,} of {total:,} pictures")

    def on_event(self, event: Event) -> None:
        """Show an event of the run."""
        if isinstance(event, Started):
            self._start(event)
            self._on_started()
        elif isinstance(event, StepProgress):
            self._move(event)
        elif isinstance(event, FeatureProgress):
            self._keep(event)
        else:
            assert self._started is not None
            self._say(epoch_line(event, self._started))

    def finish(self, result: TrainResult) -> None:
        """Take the bar away; name damaged files that were found on the way."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._warn_skipped(result.skipped)

    def _start(self, event: Started) -> None:
        self._started = event
        self._downloads.close()
        if self._bar is not None and self._decoding is not None:
            self._bar.remove_task(self._decoding)
        for line in started_lines(event, verbose=self.verbose):
            self._say(line)
        for text in event.warnings:
            self._say(f"warning: {text}", always=True)
        self._warn_skipped(event.skipped)

    def _move(self, event: StepProgress) -> None:
        bar = self._live_bar()
        if bar is None or self._started is None:
            return
        epochs = self._started.epochs
        if self._keeping is not None:
            bar.remove_task(self._keeping)
            self._keeping = None
        if self._task is None:
            self._task = bar.add_task("", total=event.steps_per_epoch, note="")
        left = (epochs - event.epoch + 1) * event.steps_per_epoch - event.step
        images_left = left * self._started.num_train / event.steps_per_epoch
        time_left = clock(images_left / event.images_per_sec) if event.images_per_sec else "?"
        bar.update(
            self._task,
            description=f"epoch {event.epoch}/{epochs}",
            completed=event.step,
            note=f"loss {event.loss:.3f}   {event.images_per_sec:,.0f} images/s   {time_left} left",
        )

    def _keep(self, event: FeatureProgress) -> None:
        bar = self._live_bar()
        if bar is None:
            return
        if self._keeping is None:
            self._keeping = bar.add_task("frozen body", total=event.total, note="")
        bar.update(self._keeping, completed=event.done, note=f"{event.done:,} of {event.total:,} pictures")

    def _live_bar(self) -> "Progress | None":
        if self._bar is None and not console.quiet and console.is_terminal():
            from rich.progress import BarColumn, Progress, TextColumn

            columns: tuple[Any, ...] = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(
                *columns, console=console.stderr_console(), transient=True, refresh_per_second=REFRESH_PER_SEC
            )
            self._bar.start()
        return self._bar

    def _say(self, text: str, *, always: bool = False) -> None:
        if self._bar is not None:
            # Printed through the bar's own console, or the bar would be drawn into the line.
            self._bar.console.print(text, markup=False, soft_wrap=True)
        elif always:
            console.warn(text.removeprefix("warning: "))
        else:
            console.talk(text)

    def _warn_skipped(self, skipped: tuple[SkippedImage, ...]) -> None:
        if len(skipped) <= self._said_skipped:
            return
        self._said_skipped = len(skipped)
        shown = skipped if self.verbose else skipped[:SHOWN]
        for bad in shown:
            self._say(f"warning: skipped {bad.path}: {bad.kind}: {bad.message}", always=True)
        if len(skipped) > len(shown):
            self._say(f"warning: skipped {len(skipped) - len(shown)} more; -v names them all", always=True)


def started_lines(event: Started, *, verbose: bool = False) -> list[str]:
    """What is about to happen."""
    lines = [
        f"{event.model}: {event.num_parameters:,} weights, {event.num_classes} classes, "
        f"{event.num_train:,} pictures to train on, {event.num_val:,} to validate on",
        *([_origin_line(event.origin, event.num_classes)] if event.origin is not None else []),
        f"on {event.device} ({event.reason}), {event.precision}; run folder: {event.run}",
    ]
    if event.frozen_epochs:
        lines.append(_frozen_line(event))
    if event.validates_on == "test":
        lines.append("no validation pictures: the test pictures are measured, and the last epoch is kept")
    if event.validates_on is None:
        lines.append("no validation pictures: the last epoch is kept")
    if event.done_epochs or event.done_steps:
        lines.append(f"going on after epoch {event.done_epochs}, step {event.done_steps} of the next")
    if verbose:
        lines.append(f"{event.epochs} epochs of {event.steps_per_epoch:,} steps")
    return lines


def _origin_line(origin: Origin, num_classes: int) -> str:
    head = "with its head, the classes being the same" if origin.kept_head else f"new head for {num_classes} classes"
    return f"begins with {origin.weights} ({origin.model}@{origin.weights_sha256[:12]}), {head}"


def _frozen_line(event: Started) -> str:
    until_the_end = event.frozen_epochs >= event.epochs
    text = "the body is frozen" + ("" if until_the_end else f" up to epoch {event.frozen_epochs}")
    if event.changing:
        verb = "changes" if len(event.changing) == 1 else "change"
        return f"{text}, but runs at every step: {' and '.join(event.changing)} {verb} the pictures"
    return f"{text}, and runs once on every picture"


def epoch_line(event: EpochEnd, started: Started) -> str:
    """An epoch's figures in one line."""
    width = len(str(started.epochs))
    parts = [f"epoch {event.epoch:>{width}}/{started.epochs}", f"train loss {event.train_loss:.4f}"]
    if event.top1 is not None and event.loss is not None:
        parts += [f"{started.validates_on} loss {event.loss:.4f}", f"top-1 {event.top1:7.2%}"]
    parts += [f"lr {event.lr:.2e}", f"{event.seconds:.1f} s", f"{event.images_per_sec:,.0f} images/s"]
    return "   ".join(parts)


def summary_lines(result: TrainResult) -> list[str]:
    """The answer for people."""
    run = shlex.quote(str(result.run))
    lines = [f"run       {result.run}"]
    if result.best is not None:
        lines.append(f"best      {score_text(result.best)}")
    if result.last is not None and result.last != result.best:
        lines.append(f"last      {score_text(result.last)}")
    if result.test is not None:
        test = result.test
        lines.append(
            f"test      top-1 {test['top1']:.2%} ({test['correct']:,} of {test['count']:,}), "
            f"top-5 {test['top5']:.2%}, loss {test['loss']:.4f}"
        )
    if result.data.get("modified"):
        lines.append("data      CIFAR-10 with other files than the published ones")
    lines.append(
        f"training  {result.epochs} epochs in {result.train_sec:.1f} s, {result.images_per_sec:,.0f} images/s "
        f"on {result.device} ({result.precision}), seed {result.seed}"
    )
    if result.stopped == EARLY and result.best is not None:
        lines.append(f"stopped   early: nothing better since epoch {result.best.epoch}")
    if result.skipped:
        lines.append(f"skipped   {len(result.skipped)} damaged pictures")
    if result.stopped == MAX_TIME:
        return [*lines, "stopped   by --max-time; all is saved", f"next      imgcls train --resume {run}"]
    return [*lines, f"next      imgcls eval {run}", f"          imgcls predict -m {run} picture.jpg"]


def score_text(score: Score) -> str:
    """An epoch's score in words."""
    if score.top1 is None or score.loss is None:
        return f"epoch {score.epoch}"
    return f"epoch {score.epoch}: top-1 {score.top1:.2%}, loss {score.loss:.4f}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
