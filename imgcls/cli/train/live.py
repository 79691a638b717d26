"""A training run as a table that grows on a terminal, with the running epoch below it."""

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imgcls.cli import console
from imgcls.cli.train.columns import GAP, columns_for, header, row
from imgcls.cli.train.lines import clock
from imgcls.cli.train.sparkline import LEVELS, Curve
from imgcls.runs.events import EpochEnd, FeatureProgress, Measuring, Started, StepProgress
from imgcls.runs.metrics import read_metrics, score_of
from imgcls.runs.pace import Pace
from imgcls.runs.result import Score

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# Longer runs show only some of their epochs, so that the table doesn't drive all else off the screen.
MOST_ROWS = 200
# The display shares two cores with the training.
REFRESH_SEC = 0.25
BAR_WIDTHS = (10, 40)
SPARKLINE_WIDTHS = (8, 60)


class LiveTable:
    """Shows a run's epochs, and how far the one under way has come.

    Args:
        started: what is known at the start.
        pace: kept up to date by the caller.
    """

    def __init__(self, started: Started, pace: Pace) -> None:
        self._started, self._pace = started, pace
        self._console = console.stderr_console()
        self._columns = columns_for(started, width=self._console.width)
        self._stride = row_stride(started.epochs)
        self._losses, self._scores = Curve(), Curve()
        self._best: Score | None = None
        self._progress: StepProgress | None = None
        self._measuring: Measuring | None = None
        self._features: FeatureProgress | None = None
        self._epochs_done = started.done_epochs
        self._drawn_at = 0.0
        self._take_up_history()
        # Drawn when something has happened, and not by a thread of its own.
        self._live = Live(get_renderable=self._render, console=self._console, transient=True, auto_refresh=False)

    def start(self) -> None:
        """Write the head of the table."""
        if self._stride > 1:
            self.say(f"a row every {self._stride:,} epochs; all of them are in {self._started.run / 'metrics.jsonl'}")
        self.say(header(self._columns))
        self._live.start()
        self._draw()

    def stop(self) -> None:
        """Take the running epoch away; the table stays."""
        self._live.stop()

    def say(self, text: str | Text) -> None:
        """Write a line above the running epoch."""
        # Through the live display's own console, or the line would be drawn into it.
        self._console.print(text, markup=False, soft_wrap=True)

    def progress(self, event: FeatureProgress | StepProgress | Measuring) -> None:
        """Show how far the epoch, or what goes before or after it, has come."""
        if isinstance(event, FeatureProgress):
            self._features = event
        elif isinstance(event, Measuring):
            self._measuring = event
        else:
            self._progress, self._measuring, self._features = event, None, None
        self._draw_now_and_then()

    def epoch_done(self, event: EpochEnd) -> None:
        """Add a row."""
        is_best = self._note(event.train_loss, event.score)
        self._epochs_done, self._measuring = event.epoch, None
        if event.epoch % self._stride == 0 or event.epoch in (1, self._started.epochs):
            self.say(row(event, self._columns, is_best=is_best and self._started.validates_on == "val"))
            self._draw()
        else:
            self._draw_now_and_then()

    def _note(self, train_loss: float, score: Score) -> bool:
        self._losses.add(train_loss)
        if score.main is not None:
            self._scores.add(score.main)
        is_best = score.beats(self._best)
        if is_best:
            self._best = score
        return is_best

    def _take_up_history(self) -> None:
        if self._started.done_epochs:
            for line in read_metrics(self._started.run):
                self._note(line["train_loss"], score_of(line))

    def _draw_now_and_then(self) -> None:
        if self._console.get_time() - self._drawn_at >= REFRESH_SEC:
            self._draw()

    def _draw(self) -> None:
        self._live.refresh()
        self._drawn_at = self._console.get_time()

    def _render(self) -> "RenderableType":
        lines = Table.grid()
        lines.add_row(self._running_line())
        curves = self._curves_line()
        if curves:
            lines.add_row(Text(curves, no_wrap=True, overflow="crop"))
        return lines

    def _running_line(self) -> "RenderableType":
        what, done, total = self._state()
        figures = self._figures()
        room = self._console.width - len(what) - 2 * len(GAP) - 1
        # The time left is what one looks for first, and stays longest.
        while len(figures) > 1 and room - len(GAP.join(figures)) < BAR_WIDTHS[0]:
            figures.pop(0)
        text = GAP.join(figures)
        width = min(room - len(text), BAR_WIDTHS[1])
        if width < BAR_WIDTHS[0]:
            return Text(f"{what}{GAP}{text}", no_wrap=True, overflow="crop")
        line = Table.grid()
        bar = ProgressBar(total=total, completed=done, width=width)
        line.add_row(Text(what + GAP, no_wrap=True), bar, Text(GAP + text, no_wrap=True))
        return line

    def _state(self) -> tuple[str, float, float]:
        """What is going on, and how much of it is done."""
        epochs = self._started.epochs
        number = min(self._epochs_done + 1, epochs)
        if self._features is not None:
            return "frozen backbone", self._features.done, self._features.total
        under_way = self._progress is not None and self._progress.epoch > self._epochs_done
        if self._measuring is not None:
            what = f"epoch {number}/{epochs} validating" if under_way else "testing"
            return what, self._measuring.done, self._measuring.total
        done = self._progress.step if self._progress is not None and under_way else 0
        return f"epoch {number}/{epochs}", done, self._started.steps_per_epoch

    def _figures(self) -> list[str]:
        """What is known of the running epoch, the dearest last."""
        figures = []
        if self._progress is not None:
            figures = [
                f"lr {self._progress.lr:.2e}",
                f"{self._progress.images_per_sec:,.0f} images/s",
                f"loss {self._progress.loss:.4f}",
            ]
        left_sec = self._pace.left_sec
        if left_sec is not None:
            figures.append(f"{clock(left_sec)} left")
        return figures or ["starting"]

    def _curves_line(self) -> str:
        best = self._best
        if best is None:
            return ""
        end = ""
        if best.main is not None and self._started.validates_on == "val":
            end = f"best {best.main:.2%}, epoch {best.epoch}"
        if not can_show(LEVELS, self._console):
            return end
        room = self._console.width - len(end) - 1
        labels = ["loss "] + ([f"{best.name} "] if best.main is not None else [])
        width = min((room - sum(map(len, labels)) - len(GAP) * len(labels)) // len(labels), SPARKLINE_WIDTHS[1])
        if width < SPARKLINE_WIDTHS[0]:
            return end
        curves = [curve.draw(width) for curve in (self._losses, self._scores)[: len(labels)]]
        if len(curves[0]) < 2:
            return end
        return GAP.join([*(label + curve for label, curve in zip(labels, curves, strict=True)), end])


def row_stride(epochs: int) -> int:
    """Every how many epochs there is a row: 1, 2, 5, 10, ... so that there are at most MOST_ROWS."""
    strides: Iterator[int] = (step * 10**power for power in itertools.count() for step in (1, 2, 5))
    return next(stride for stride in strides if epochs <= stride * MOST_ROWS)


def can_show(characters: str, terminal: "Console") -> bool:
    """Whether the terminal's encoding has these characters."""
    try:
        characters.encode(terminal.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True
