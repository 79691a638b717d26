"""What a person sees of a training run: a live table on a terminal, else one line per epoch."""

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from imgcls.cli import console
from imgcls.cli.train.downloads import DownloadBars
from imgcls.cli.train.lines import epoch_line, started_lines
from imgcls.datasets.labelled_images import SkippedImage
from imgcls.runs.events import EpochEnd, Event, Started
from imgcls.runs.pace import Pace
from imgcls.runs.result import TrainResult

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress

    from imgcls.cli.train.live import LiveTable

# Damaged files that are named before the rest is only counted.
SHOWN = 5
# Decoding has the cores to itself, but for this.
REFRESH_PER_SEC = 4


class TrainDisplay:
    """Turns a run's events into lines on stderr, and on a terminal into a table with the running epoch below.

    Args:
        model: whose weights may be downloaded.
        on_started: called when the first step comes next.
        verbose: name every damaged file, and say what else is known.
    """

    def __init__(self, model: str, *, on_started: Callable[[], None] = lambda: None, verbose: bool = False) -> None:
        self.verbose = verbose
        self._on_started = on_started
        self._started: Started | None = None
        self._pace = Pace()
        self._table: LiveTable | None = None
        self._said_skipped = 0
        # Begun with the first image, and ended before anything else is drawn.
        self._opening = contextlib.ExitStack()
        self.downloads = DownloadBars(self._opening.close, weights=f"the weights of {model}")
        self._decoding: Progress | None = None

    @property
    def run(self) -> "Path | None":
        """The run's folder, once it has begun."""
        return self._started.run if self._started is not None else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_bars()
        if self._table is not None:
            self._table.stop()

    def decoding(self, done: int, total: int) -> None:
        """Images decoded so far, while the data set is opened for the first time."""
        if console.quiet or not console.is_terminal():
            return
        if self._decoding is None:
            self.downloads.close()
            self._decoding = self._opening.enter_context(_decoding_bar())
            self._decoding.add_task("decoding", total=total)
        self._decoding.update(self._decoding.task_ids[0], completed=done)

    def on_event(self, event: Event) -> None:
        """Show an event of the run."""
        self._pace.update(event)
        if isinstance(event, Started):
            self._start(event)
            self._on_started()
        elif isinstance(event, EpochEnd):
            assert self._started is not None
            if self._table is not None:
                self._table.epoch_done(event)
            else:
                console.message(epoch_line(event, self._started, left_sec=self._pace.left_sec))
        elif self._table is not None:
            self._table.progress(event)

    def finish(self, result: TrainResult) -> None:
        """Take the running epoch away; name damaged files that were found on the way."""
        if self._table is not None:
            self._table.stop()
        self.warn_skipped(result.skipped)

    def _start(self, event: Started) -> None:
        self._started = event
        self._end_bars()
        for line in started_lines(event, verbose=self.verbose):
            console.message(line)
        for text in event.warnings:
            console.warn(text)
        self.warn_skipped(event.skipped)
        if not console.quiet and console.is_terminal():
            from imgcls.cli.train.live import LiveTable

            self._table = LiveTable(event, self._pace)
            self._table.start()

    def _end_bars(self) -> None:
        self.downloads.close()
        self._opening.close()

    def warn_skipped(self, skipped: tuple[SkippedImage, ...]) -> None:
        """Name the damaged files that haven't been named yet."""
        if len(skipped) <= self._said_skipped:
            return
        self._said_skipped = len(skipped)
        shown = skipped if self.verbose else skipped[:SHOWN]
        for bad in shown:
            console.warn(f"skipped {bad.path}: {bad.kind}: {bad.message}")
        if len(skipped) > len(shown):
            console.warn(f"skipped {len(skipped) - len(shown)} more; -v names them all")


def _decoding_bar() -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("images"))
    return Progress(
        *columns,
        TimeRemainingColumn(),
        console=console.stderr_console(),
        transient=True,
        refresh_per_second=REFRESH_PER_SEC,
    )
