"""Bars on stderr that count images."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from imgcls.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress


@contextlib.contextmanager
def count_progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal; nothing elsewhere, and nothing before the first call.

    Args:
        what: is being done.
    Yields:
        A function to call with images done and in all, or None.
    """
    if console.quiet or not console.is_terminal():
        yield None
        return
    with count_bar() as bar:
        task = None

        def move(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = bar.add_task(what, total=total)
            bar.update(task, completed=done, total=total)

        yield move


def count_bar() -> "Progress":
    """A bar with what is being done, how many of how many, and the time left; it goes when it ends."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console.stderr_console(), transient=True)
