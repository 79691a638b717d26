"""What a person sees of a study: a line a trial, a live bar for the trial in hand, and a table in the end."""

import contextlib
import shlex
import textwrap
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from imgcls.cli import console
from imgcls.cli.train_display import REFRESH_PER_SEC, SHOWN
from imgcls.cli.train_lines import epoch_line
from imgcls.runs.events import EpochEnd, Started, StepProgress
from imgcls.tuning.results import StudyEvent, StudyResult, StudyStarted, TrialEnded, TrialRecord, TrialStarted
from imgcls.tuning.space import label_of

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

WORDS = {"out_of_memory": "no memory"}
STATE_WIDTH = 9
# What doesn't fit into a trial's line stands below it, this far in.
INDENT = 10
PRUNING = {
    "median": "trials below the median of the others are given up",
    "halving": "trials are given up by successive halving",
    "none": "no trial is given up",
}


class TuneDisplay:
    """Turns a study's events into lines on stderr, and on a terminal into a bar below them.

    Args:
        on_started: called when the first trial comes next.
        verbose: a line an epoch too.
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
        self._downloads = contextlib.ExitStack()
        self._download: dict[str, Callable[[int, int | None], None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._downloads.close()
        self._end_bar()

    def downloading_data(self, done: int, total: int | None) -> None:
        """Bytes of the data set downloaded so far."""
        self._show_download("CIFAR-10", done, total)

    def downloading_weights(self, done: int, total: int | None) -> None:
        """Bytes of published weights downloaded so far."""
        self._show_download("weights", done, total)

    def _show_download(self, what: str, done: int, total: int | None) -> None:
        if what not in self._download:
            # Two bars at once would draw over each other.
            self._downloads.close()
            self._end_bar()
            self._download = {what: self._downloads.enter_context(console.download_progress(what))}
        self._download[what](done, total)

    def decoding(self, done: int, total: int) -> None:
        """Images decoded so far, while the data set is opened for the first time at some size."""
        self._downloads.close()
        self._show("decoding", done, total, f"{done:,} of {total:,} images")

    def on_event(self, event: StudyEvent) -> None:
        """Show an event of the study or of a trial's run."""
        match event:
            case StudyStarted():
                self._study, self._num_over, self._best = event, event.num_over, event.best
                self._downloads.close()
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
                self._downloads.close()
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


def started_lines(event: StudyStarted) -> list[str]:
    """What is about to happen."""
    settings = "1 setting" if event.num_settings == 1 else f"{event.num_settings} settings"
    begun = f", {event.num_over} of them over" if event.num_over else ""
    lines = [
        f"{settings} to search in {event.num_trials} trials{begun}",
        PRUNING[event.pruner],
        f"on {event.device} ({event.reason}); study folder: {event.study}",
        f"{event.num_train:,} images to train on, {event.num_val:,} to validate on",
    ]
    if event.val_fraction is not None:
        lines.append(f"{event.val_fraction:.0%} of the training images are kept back to choose by")
    if event.best is not None:
        lines.append(f"best so far: {best_text(event.best)}")
    if not event.num_over and event.begins_with_recipe:
        lines.append("trial 0 is the recipe as it stands")
    elif not event.num_over:
        lines.append("the recipe's own values lie outside of the space: it is no trial itself")
    return lines


def trial_lines(
    trial: TrialRecord, best: TrialRecord | None, *, num_trials: int, width: int | None = None
) -> list[str]:
    """A trial in one line with the values last, as there may be many.

    Args:
        trial: that is over.
        best: so far.
        num_trials: in all.
        width: of the terminal, where a line that is too long goes on below; None for one line whatever its length.
    """
    digits = len(str(max(num_trials - 1, trial.number)))
    top1 = f"{trial.top1:7.2%}" if trial.top1 is not None else "      -"
    epoch = f"epoch {trial.epoch:>2}" if trial.epoch is not None else "epoch  -"
    shown = f"best {best.top1:.2%} (trial {best.number})" if best is not None else "best -"
    figures = (
        f"trial {trial.number:>{digits}}  {_word(trial.state):<{STATE_WIDTH}}  {top1}  {epoch}  {trial.seconds:6.1f} s"
    )
    values = "  ".join(f"{name} {short(value)}" for name, value in _named(trial.values))
    reason = trial.reason if trial.state != "pruned" else ""
    line = "   ".join(part for part in (figures, shown, values, reason) if part)
    if width is None or len(line) <= width:
        return [line]
    below = [
        wrapped
        for part in (values, reason)
        # A name stays with its value.
        for wrapped in textwrap.wrap(part.replace(" ", "\0").replace("\0\0", "  "), max(width - INDENT, 20))
    ]
    return [f"{figures}   {shown}", *(" " * INDENT + part.replace("\0", " ") for part in below)]


def summary_lines(result: StudyResult) -> list[str]:
    """The answer for people."""
    counts = ", ".join(f"{number} {_word(state)}" for state, number in result.counts.items())
    lines = [
        f"study   {result.study}",
        f"trials  {result.num_over} of {max(result.num_trials, result.num_over)} over"
        + (f": {counts}" if counts else ""),
        f"best    {best_text(result.best)}",
    ]
    if result.best is not None:
        lines += ["", *_settings_table(result.best, result.trials[0], result.importance or {}), ""]
    if result.best_recipe is not None:
        lines.append(f"recipe  {result.best_recipe}")
    if result.stopped is not None:
        lines.append(f"stopped by --{result.stopped}; all is saved")
        return [*lines, f"next    imgcls tune --resume {shlex.quote(str(result.study))}"]
    if result.best_recipe is not None:
        lines.append(f"next    imgcls train -c {shlex.quote(str(result.best_recipe))}")
    if result.best is not None and result.best.run is not None:
        lines.append(f"        imgcls predict -m {shlex.quote(str(result.best.run))} image.jpg")
    return lines


def best_text(best: TrialRecord | None) -> str:
    """The best trial in words."""
    if best is None or best.top1 is None:
        return "none yet"
    loss = f", loss {best.loss:.4f}" if best.loss is not None else ""
    return f"trial {best.number}: top-1 {best.top1:.2%}{loss} (epoch {best.epoch})"


def _settings_table(best: TrialRecord, first: TrialRecord, importance: dict[str, float]) -> list[str]:
    """What was searched: the best values, those of the first trial beside them, and what mattered."""
    rows = [("setting", "best", f"trial {first.number}", "matters")]
    for key, value in best.values.items():
        before = short(first.values[key]) if first.number != best.number else ""
        rows.append((key, short(value), before, f"{importance[key]:.0%}" if key in importance else ""))
    columns = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    widths = {column: max(len(row[column]) for row in rows) for column in columns}
    return ["  ".join(row[column].ljust(widths[column]) for column in columns).rstrip() for row in rows]


def short(value: Any) -> str:
    """A setting's value, numbers to four digits; the files have them all."""
    return f"{value:.4g}" if isinstance(value, float) else label_of(value)


def _named(values: dict[str, Any]) -> list[tuple[str, Any]]:
    """Values by the last part of their key, where that is enough to tell them apart."""
    last = [key.rpartition(".")[2] for key in values]
    return [
        (name if last.count(name) == 1 else key, value) for (key, value), name in zip(values.items(), last, strict=True)
    ]


def _word(state: str) -> str:
    return WORDS.get(state, state)
