"""What is said about a study, line by line."""

import shlex
import textwrap
from typing import Any

from imgcls.host.terminal_text import counted
from imgcls.tuning.results import StudyResult, StudyStarted, TrialRecord
from imgcls.tuning.space import label_of

WORDS = {"out_of_memory": "no memory"}
STATE_WIDTH = 9
# What doesn't fit into a trial's line stands below it, this far in.
INDENT = 10
PRUNING = {
    "median": "trials below the median of the others are stopped early",
    "halving": "trials are stopped early by successive halving",
    "none": "no trial is stopped early",
}


def started_lines(event: StudyStarted) -> list[str]:
    """What is about to happen."""
    begun = f", {event.num_over} of them done" if event.num_over else ""
    lines = [
        f"{counted(event.num_settings, 'setting')} to search in {counted(event.num_trials, 'trial')}{begun}",
        PRUNING[event.pruner],
        f"on {event.device} ({event.reason}); study folder: {event.study}",
        f"{counted(event.num_train, 'training image')}, {counted(event.num_val, 'validation image')}",
    ]
    if event.val_fraction is not None:
        lines.append(f"{event.val_fraction:.0%} of the training images are kept for validation")
    if event.best is not None:
        lines.append(f"best so far: {best_text(event.best)}")
    if not event.num_over and event.begins_with_recipe:
        lines.append("trial 0 is the recipe as it stands")
    elif not event.num_over:
        lines.append("the recipe's own values lie outside the space: it is not tried itself")
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
