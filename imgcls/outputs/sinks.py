"""Where records end up: stdout, a file that appears when it is whole, or a log that a later run continues."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TextIO

from imgcls.errors import OutputError
from imgcls.host.files import output_error, replacing
from imgcls.outputs.formats.text import RecordWriter
from imgcls.outputs.journal import Journal
from imgcls.outputs.record import ImageRecord, KeptRecord, Summary


class Sink(Protocol):
    """A destination of records."""

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Take the next record."""

    def finish(self, summary: Summary) -> None:
        """The inputs are through: make the output whole."""

    def abandon(self, summary: Summary) -> None:
        """The run ends early: keep what can be kept."""


class StreamSink:
    """Text that goes out as it comes, to stdout or a device; a context manager.

    After an error, leaving it ends the text properly all the same: what was said must still parse.

    Args:
        file: where it goes; the caller closes it.
        writer: writes to `file`.
        name: of the destination, for messages.
    """

    def __init__(self, file: TextIO, writer: RecordWriter, name: str) -> None:
        self._file = file
        self._writer = writer
        self._name = name
        self._summary = Summary()

    def __enter__(self) -> Self:
        """Nothing is left to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the text, unless it can't be written."""
        # Where the destination itself fails, or somebody wants out at once, nothing more is written.
        if isinstance(exc, Exception) and not isinstance(exc, (OSError, OutputError)):
            self._summary.ended = "failed"
            with contextlib.suppress(OSError, OutputError):
                self.finish(self._summary)

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Write it and let it go at once, for whoever reads the other end."""
        assert isinstance(record, ImageRecord)
        self._summary.add(record)
        with self._typed_errors():
            self._writer.write(record)
            self._file.flush()

    def finish(self, summary: Summary) -> None:
        """Write what comes after the last record."""
        with self._typed_errors():
            self._writer.finish(summary)
            self._file.flush()

    def abandon(self, summary: Summary) -> None:
        """The text ends properly, earlier."""
        self.finish(summary)

    @contextlib.contextmanager
    def _typed_errors(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            # The reader has gone: no fault of ours, and the command ends quietly.
            raise
        except OSError as exc:
            raise OutputError(
                f"can't write to {self._name}: {exc.strerror or exc}",
                hint="free some space, or name a file with --output",
            ) from exc


class FileSink:
    """A file that appears under its name only when it is whole; a context manager that leaves nothing after an error.

    Args:
        path: the file.
        open_writer: makes the writer for a file that is being written.
    Raises:
        OutputError: it can't be written.
    """

    def __init__(self, path: Path, open_writer: Callable[[Path], "ClosingWriter"]) -> None:
        self._path = path
        with contextlib.ExitStack() as stack:
            part = stack.enter_context(replacing(path))
            try:
                self._writer = open_writer(part)
            except OSError as exc:
                raise output_error(path, exc) from exc
            self._stack = stack.pop_all()
        self._is_open = True

    def __enter__(self) -> Self:
        """Nothing is left to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Throw away a file that isn't finished."""
        if self._is_open:
            # Only an error leads here, and it makes `replacing` throw away what has been written.
            with contextlib.suppress(OSError, ValueError):
                self._writer.close()
            self._stack.__exit__(kind, exc, trace)

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Write it."""
        assert isinstance(record, ImageRecord)
        try:
            self._writer.write(record)
        except OSError as exc:
            raise output_error(self._path, exc) from exc

    def finish(self, summary: Summary) -> None:
        """Write the end and move the file into place."""
        try:
            self._writer.finish(summary)
            self._writer.close()
        except OSError as exc:
            raise output_error(self._path, exc) from exc
        self._is_open = False
        self._stack.close()

    def abandon(self, summary: Summary) -> None:
        """The records so far make a whole file too; its summary says that there is more."""
        self.finish(summary)


class ClosingWriter(RecordWriter, Protocol):
    """A writer that holds a file of its own."""

    def close(self) -> None:
        """Close it."""


class LogSink:
    """A log that a later run continues: see `Journal`."""

    def __init__(self, log: Journal) -> None:
        self._log = log

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Write it."""
        self._log.append(record)

    def finish(self, summary: Summary) -> None:
        """Put the final file into place."""
        self._log.finish()

    def abandon(self, summary: Summary) -> None:
        """Leave the part to be continued."""
        self._log.abandon()


class TextFileWriter:
    """A text writer with a file of its own.

    Args:
        path: the file to write.
        build: makes the writer for the opened file.
    """

    def __init__(self, path: Path, build: Callable[[TextIO], RecordWriter]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._writer = build(self._file)

    def write(self, record: ImageRecord) -> None:
        """Write one record."""
        self._writer.write(record)

    def finish(self, summary: Summary) -> None:
        """Write what comes after the last record."""
        self._writer.finish(summary)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
