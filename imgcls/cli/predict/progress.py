"""How far a run of `imgcls predict` has come, for a person who watches."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from imgcls.cli import console
from imgcls.outputs.record import ImageRecord

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from imgcls.outputs.record import KeptRecord
    from imgcls.outputs.summary import Summary

    OnRecord = Callable[[ImageRecord | KeptRecord, Summary], None]

WINDOW_SEC = 10.0
# Records come a batch at a time, so that the first moments tell nothing.
LEAST_SEC = 1.0


class WindowedRate:
    """Images per second over the last seconds, the pauses between batches included.

    Args:
        now: seconds on any clock, when the run begins.
    """

    def __init__(self, now: float) -> None:
        self._marks = deque([(now, 0)])
        self._count = 0

    def add(self, now: float, count: int = 1) -> None:
        """Count images that were classified; those that are kept from before cost nothing, and are left out."""
        self._count += count
        # Ten marks per second are enough, however fast images come.
        if now - self._marks[-1][0] >= WINDOW_SEC / 100:
            self._marks.append((now, self._count))
        while len(self._marks) > 1 and now - self._marks[1][0] > WINDOW_SEC:
            self._marks.popleft()

    def per_sec(self, now: float) -> float | None:
        """The rate; None as long as there is nothing to tell."""
        since, before = self._marks[0]
        return (self._count - before) / (now - since) if now - since >= LEAST_SEC else None


def begins_input(record: "ImageRecord | KeptRecord") -> bool:
    """Whether a record is its input's first: a bar counts inputs, and a file may have a record for each frame."""
    frame = record.frame if isinstance(record, ImageRecord) else record.values.get("frame")
    return not frame


@contextlib.contextmanager
def progress_bar(open_inputs: "Callable[[], Iterable[object]] | None", *, is_wanted: bool) -> "Iterator[OnRecord]":
    """A bar on stderr with images/s, time left and failures so far; nothing where nobody watches.

    Args:
        open_inputs: gives the inputs once more, to be counted in the background; None where they come only once, as
            from stdin, so that nobody knows how many there will be.
        is_wanted: whether a bar helps.
    Yields:
        What to call after each record.
    """
    if not is_wanted or console.quiet or not console.is_terminal():
        yield lambda _record, _summary: None
        return
    with rate_bar(open_inputs and (lambda: sum(1 for _ in open_inputs()))) as show:
        rate = WindowedRate(time.monotonic())
        num_inputs = 0

        def move(record: "ImageRecord | KeptRecord", summary: "Summary") -> None:
            nonlocal num_inputs
            now = time.monotonic()
            if isinstance(record, ImageRecord):
                rate.add(now)
            num_inputs += begins_input(record)
            show(num_inputs, summary.num_failed, rate.per_sec(now), "")

        yield move


@contextlib.contextmanager
def rate_bar(
    count_inputs: "Callable[[], int | None] | None", *, note: str = ""
) -> "Iterator[Callable[[int, int, float | None, str], None]]":
    """A bar on stderr that says how many images are done and have failed, images/s, the time left, and a note.

    Args:
        count_inputs: how many there will be, or None where nobody knows; called in the background.
        note: what is to be said at first.
    Yields:
        What to call with the images that are done, those that failed, the rate where there is one, and the note.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        *([TextColumn("{task.fields[note]}")] if note else []),
        TextColumn("[red]{task.fields[failed]}"),
    )
    with Progress(*columns, console=console.stderr_console(), transient=True) as bar:
        task = bar.add_task("", total=None, rate="", failed="", note=note)
        if count_inputs is not None:
            threading.Thread(target=_count, args=(count_inputs, bar, task), daemon=True).start()

        def show(done: int, num_failed: int, speed: float | None, note: str) -> None:
            failed = f"{num_failed:,} failed" if num_failed else ""
            rate = f"{speed:.0f} img/s" if speed and speed > 0 else ""
            bar.update(task, completed=done, rate=rate, failed=failed, note=note)

        yield show


def _count(count_inputs: "Callable[[], int | None]", bar: "Progress", task: "TaskID") -> None:
    # What goes wrong while counting goes wrong again, and is said, where the inputs are read for good.
    with contextlib.suppress(Exception):
        bar.update(task, total=count_inputs())
