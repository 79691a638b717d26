"""How far a run of `imgcls predict` has come, for a person who watches."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from imgcls.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from imgcls.outputs.record import ImageRecord, KeptRecord
    from imgcls.outputs.summary import Summary

    OnRecord = Callable[[ImageRecord | KeptRecord, Summary], None]


@contextlib.contextmanager
def progress_bar(open_inputs: "Callable[[], Iterable[object]] | None") -> "Iterator[OnRecord]":
    """A bar on stderr with images/s, time left and failures so far; nothing where nobody watches.

    Args:
        open_inputs: gives the inputs once more, to be counted in the background; None where they come only once, as
            from stdin, so that nobody knows how many there will be.
    Yields:
        What to call after each record.
    """
    if console.quiet or not console.is_terminal():
        yield lambda _record, _summary: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[failed]}"),
    )
    with Progress(*columns, console=console.stderr_console(), transient=True) as bar:
        task = bar.add_task("", total=None, rate="", failed="")
        if open_inputs is not None:
            threading.Thread(target=_count, args=(open_inputs, bar, task), daemon=True).start()

        def move(_record: "ImageRecord | KeptRecord", summary: "Summary") -> None:
            speed = bar.tasks[0].speed
            failed = f"{summary.num_failed:,} failed" if summary.num_failed else ""
            bar.update(task, completed=summary.count, rate=f"{speed:.0f} img/s" if speed else "", failed=failed)

        yield move


def _count(open_inputs: "Callable[[], Iterable[object]]", bar: "Progress", task: "TaskID") -> None:
    # What goes wrong while counting goes wrong again, and is said, where the inputs are read for good.
    with contextlib.suppress(Exception):
        bar.update(task, total=sum(1 for _ in open_inputs()))
