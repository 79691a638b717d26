"""The only printer: data goes to stdout, messages goes to stderr."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

import typer

from imgcls.errors import ExitCode, ImgclsError, OutputError
from imgcls.host.terminal_text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

quiet = False
# Of several processes that torchrun started, all but the first have nothing to say but errors.
silent = False


def data(text: str) -> None:
    """Write a line of the answer to stdout.

    Raises:
        OutputError: it can't be written, as on a full disk.
    """
    if not silent:
        with _writing():
            open_stdout().write(text + "\n")


def open_stdout() -> TextIO:
    """Where data goes.

    Raises:
        OutputError: it is closed.
    """
    # Typing has it that there always is one.
    stdout: TextIO | None = sys.stdout
    if stdout is None:
        raise OutputError("stdout is closed", hint="open it, or redirect it to a file")
    return stdout


def flush() -> None:
    """Write what is left of the answer; see `data`."""
    with _writing():
        if sys.stdout is not None:
            sys.stdout.flush()


@contextmanager
def whole_answer() -> Iterator[None]:
    """Around an answer that is given before any command runs: help, the version.

    Raises:
        OutputError: stdout is closed, or can't be written to.
        typer.Exit: its reader has gone.
    """
    open_stdout()
    try:
        with _writing():
            yield
            sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        # The reader has gone; rich, which Typer's help is drawn with, ends the program there.
        drop_stdout()
        raise typer.Exit(ExitCode.CLOSED_PIPE) from None


def drop_stdout() -> None:
    """Let what could not be written go, or the interpreter's own last flush would fail and change the exit code."""
    # Closed, or no file at all, as where a test has taken its place: nothing will be flushed to it either.
    with suppress(AttributeError, OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as exc:
        raise OutputError(f"can't write to stdout: {exc.strerror}", hint="free some space") from exc


def use_utf8_stdout() -> None:
    """Write data as UTF-8 with bare line feeds whatever the platform's habit, so that it parses everywhere.

    Raises:
        OutputError: stdout is closed.
    """
    open_stdout().reconfigure(encoding="utf-8", newline="\n")  # type: ignore[attr-defined]


def message(text: str) -> None:
    """Say something to the person, unless --quiet."""
    if not quiet and not silent:
        _stderr_line(text)


def log_line(text: str) -> None:
    """Write lines of a server's log."""
    _stderr_line(text)


def warn(text: str) -> None:
    """Say something that the person must know, --quiet or not."""
    if not silent:
        _stderr_line(f"warning: {text}")


def error(exc: ImgclsError) -> None:
    """Say what went wrong, in one line, and what to do next."""
    _stderr_line(printable(f"error: {exc.message}"))
    if exc.hint:
        _stderr_line(printable(f"  hint: {exc.hint}"))


def is_terminal() -> bool:
    """Whether the person sees stderr on a terminal, so that a live display makes sense."""
    return not silent and sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def stdout_has_colour() -> bool:
    """Whether colours make sense on stdout: a terminal that shows them, or FORCE_COLOR; never with NO_COLOR."""
    if sys.stdout is None or os.environ.get("NO_COLOR"):
        return False
    # As rich has it: whatever isn't empty, be it 0.
    return bool(os.environ.get("FORCE_COLOR")) or (sys.stdout.isatty() and os.environ.get("TERM") != "dumb")


def cell_px() -> tuple[int, int] | None:
    """Width and height of a character on the terminal, in pixels; None where it doesn't say."""
    with suppress(ImportError, OSError, AttributeError, ValueError):
        import fcntl
        import struct
        import termios

        answer = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
        rows, columns, width, height = struct.unpack("HHHH", answer)
        if rows and columns and width >= columns and height >= rows:
            return width // columns, height // rows
    return None


def stdout_console() -> "Console":
    """A rich console for tables on stdout; colours only on a terminal, and never with NO_COLOR."""
    from imgcls.cli.shield import ShieldedConsole

    return ShieldedConsole(highlight=False, soft_wrap=not open_stdout().isatty())


def stderr_console() -> "Console":
    """A rich console for progress on stderr."""
    from imgcls.cli.shield import ShieldedConsole

    return ShieldedConsole(stderr=True, highlight=False)


@contextmanager
def download_progress(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a download on stderr: a bar on a terminal, else a line at its start.

    Yields:
        A function to call with bytes so far and in all (None when unknown); nothing shows before the first call.
    """
    if quiet or not is_terminal():
        said = False

        def line(_done: int, total: int | None) -> None:
            nonlocal said
            if not said:
                said = True
                message(f"downloading {what}" + (f" ({total / 2**20:.0f} MiB)" if total else ""))

        yield line
        return
    with ExitStack() as stack:
        bar: Progress | None = None

        def move(done: int, total: int | None) -> None:
            nonlocal bar
            if bar is None:
                bar = stack.enter_context(_download_bar())
                bar.add_task(f"downloading {what}", total=total)
            bar.update(bar.task_ids[0], completed=done, total=total)

        yield move


def _download_bar() -> "Progress":
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=stderr_console(), transient=True)


def _stderr_line(text: str) -> None:
    # Closed, or a log on a full disk: nobody can be told, and the work goes on all the same.
    with suppress(OSError):
        if sys.stderr is not None:
            # Names and servers' words never steer the terminal; the lines of a message are our own.
            sys.stderr.write(printable(text, keeps="\n") + "\n")
            sys.stderr.flush()
