"""What a person sees of a study: a line a trial, a live bar for the trial in hand, and a table in the end."""

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from imgcls.cli import console
from imgcls.cli.train.display import REFRESH_PER_SEC, SHOWN
from imgcls.cli.train.downloads import DownloadBars
from imgcls.cli.train.lines import epoch_line
from imgcls.cli.tune.lines import started_lines, trial_lines
from imgcls.runs.events import EpochEnd, Started, StepProgress
from imgcls.tuning.results import StudyEvent, StudyStarted, TrialEnded, TrialRecord, TrialStarted

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class TuneDisplay:
    """Turns a study's events into lines on stderr, and on a terminal into a bar below them.

    Args:
        on_started: called when the first trial comes next.
        verbose: one line per epoch too.
    """

    def __init__(self, *, on_started: Callable[[], None] = lambda: None, verbose: bool = False) -> None:
        self.verbose = verbose
        self._on_started = on_started
        self._study: StudyStarted | None = None
        self._trial: TrialStarted | None = None
        self._run: Started | None = None
        self._num_over = 0
        self._best: TrialRecord | None = None
        self._said_skipped = False
        self._warned: set[str] = set()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self.downloads = DownloadBars(self._end_bar)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.downloads.close()
        self._end_bar()

    def decoding(self, done: int, total: int) -> None:
        """Images decoded so far, while the data set is opened for the first time at some size."""
        self.downloads.close()
        self._show("decoding", done, total, f"{done:,} of {total:,} images")

    def on_event(self, event: StudyEvent) -> None:
        """Show an event of the study or of a trial's run."""
        match event:
            case StudyStarted():
                self._study, self._num_over, self._best = event, event.num_over, event.best
                self.downloads.close()
                for line in started_lines(event):
                    self.say(line)
                self._warn(event.warnings)
                self._on_started()
            case TrialStarted():
                self._trial = event
                if event.done_epochs:
                    self.say(f"going on with trial {event.number} after epoch {event.done_epochs}")
            case Started():
                self._run = event
                self.downloads.close()
                self._warn(event.warnings)
                self._warn_skipped(event)
            case StepProgress():
                self._move(event)
            case EpochEnd():
                if self.verbose and self._run is not None and self._trial is not None:
                    self.say(f"trial {self._trial.number}   {epoch_line(event, self._run)}")
            case TrialEnded():
                self._num_over, self._best = event.num_over, event.best
                num_trials = self._study.num_trials if self._study is not None else 0
                width = self._bar.console.width if self._bar is not None else None
                for line in trial_lines(event.trial, event.best, num_trials=num_trials, width=width):
                    self.say(line)

    def say(self, text: str, *, always: bool = False) -> None:
        """A line on stderr, above the bar."""
        if self._bar is not None:
            # Printed through the bar's own console, or the bar would be drawn into the line.
            self._bar.console.print(text, markup=False, soft_wrap=True)
        elif always:
            console.warn(text.removeprefix("warning: "))
        else:
            console.message(text)

    def _move(self, event: StepProgress) -> None:
        if self._trial is None or self._study is None:
            return
        best = f"   best {self._best.top1:.2%}" if self._best is not None else ""
        epochs = self._trial.epochs
        self._show(
            f"trial {self._trial.number}   {self._num_over} of {self._study.num_trials} over",
            (event.epoch - 1) * event.steps_per_epoch + event.step,
            epochs * event.steps_per_epoch,
            f"epoch {event.epoch}/{epochs}   loss {event.loss:.3f}{best}",
        )

    def _show(self, what: str, done: int, total: int, note: str) -> None:
        bar = self._live_bar()
        if bar is None:
            return
        if self._task is None:
            self._task = bar.add_task(what, total=total, note=note)
        bar.update(self._task, description=what, completed=done, total=total, note=note)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None

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

    def _warn(self, warnings: tuple[str, ...]) -> None:
        # What there is to say of the data is the same in every trial.
        for text in warnings:
            if text not in self._warned:
                self._warned.add(text)
                self.say(f"warning: {text}", always=True)

    def _warn_skipped(self, event: Started) -> None:
        if self._said_skipped or not event.skipped:
            return
        self._said_skipped = True
        shown = event.skipped if self.verbose else event.skipped[:SHOWN]
        for bad in shown:
            self.say(f"warning: skipped {bad.path}: {bad.kind}: {bad.message}", always=True)
        if len(event.skipped) > len(shown):
            self.say(f"warning: skipped {len(event.skipped) - len(shown)} more; -v names them all", always=True)
