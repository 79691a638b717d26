"""A training run as a notebook shows it: a progress bar, and a table that grows by a row per epoch.

Nothing is printed: a notebook is given an object to display, and another version of it whenever something has changed.
"""

import html
import sys
import time
from importlib import import_module
from typing import Any

from imgcls.host.terminal_text import counted
from imgcls.runs.events import EpochEnd, Event, FeatureProgress, Measuring, OnEvent, Started, StepProgress

BAR = (
    "<div style='width:24em;background:#ddd'><div style='background:#4c78a8;height:.8em;width:{share:.1%}'></div></div>"
)
# How often the bar moves; each time costs a message to the browser.
PACE_SEC = 0.25
HEADER = ("epoch", "train loss", "loss", "top-1", "seconds", "images/s")


def notebook_progress() -> OnEvent | None:
    """What shows a run's events in the notebook that runs this; None outside of a notebook.

    In a notebook IPython is there already and has a kernel, which a terminal has not.
    """
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return None
    return NotebookProgress(import_module("IPython.display").display)


class NotebookProgress:
    """Shows a run's events.

    Args:
        display: `IPython.display.display`.
        pace_sec: seconds between two moves of the bar, at least.
    """

    def __init__(self, display: Any, *, pace_sec: float = PACE_SEC) -> None:
        self._display, self._pace_sec = display, pace_sec
        self._shown = 0.0
        self._handle: Any = None
        self._started: Started | None = None
        self._rows: list[EpochEnd] = []
        self._now, self._share = "", 0.0

    def __call__(self, event: Event) -> None:
        """Show an event; see `OnEvent`."""
        match event:
            case Started():
                self._started = event
            case EpochEnd():
                self._rows.append(event)
                self._now = "" if self._started and event.epoch == self._started.epochs else f"epoch {event.epoch + 1}"
                self._share = 0.0 if self._now else 1.0
            case FeatureProgress():
                self._now, self._share = f"features of {event.total:,} images", event.done / event.total
            case StepProgress():
                self._now = f"epoch {event.epoch}, {event.images_per_sec:,.0f} images/s, loss {event.loss:.4f}"
                self._share = event.step / event.steps_per_epoch
            case Measuring():
                self._now, self._share = f"measuring {event.split}", event.done / event.total
        is_step = isinstance(event, (FeatureProgress, StepProgress, Measuring))
        if is_step and time.monotonic() - self._shown < self._pace_sec:
            return
        self._shown = time.monotonic()
        if self._handle is None:
            self._handle = self._display(self, display_id=True)
        else:
            self._handle.update(self)

    def _repr_html_(self) -> str:
        """The run so far."""
        head = "".join(f"<th>{title}</th>" for title in self._header())
        rows = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in _cells(row))}</tr>" for row in self._rows)
        title, warnings = "", ""
        if self._started is not None:
            run = self._started
            title = html.escape(f"{run.model} on {run.device}, {counted(run.num_train, 'image')}: {run.run}")
            warnings = "".join(f"<div>{html.escape(text)}</div>" for text in self._started.warnings)
        bar = f"{BAR.format(share=self._share)}<small>{html.escape(self._now)}</small>" if self._now else ""
        return f"<div><b>{title}</b>{warnings}<table><tr>{head}</tr>{rows}</table>{bar}</div>"

    def __repr__(self) -> str:
        """The last whole epoch, for what shows no HTML."""
        if not self._rows:
            return f"NotebookProgress({self._now})"
        return (
            "NotebookProgress("
            + ", ".join(map(" ".join, zip(self._header(), _cells(self._rows[-1]), strict=True)))
            + ")"
        )

    def _header(self) -> tuple[str, ...]:
        """The titles; of several labels per image the score is another one."""
        score = self._rows[-1].score.name if self._rows else "top-1"
        return tuple(score if title == "top-1" else title for title in HEADER)


def _cells(row: EpochEnd) -> tuple[str, ...]:
    return (
        str(row.epoch),
        f"{row.train_loss:.4f}",
        "" if row.loss is None else f"{row.loss:.4f}",
        "" if row.score.main is None else f"{row.score.main:.2%}",
        f"{row.seconds:.1f}",
        f"{row.images_per_sec:,.0f}",
    )
