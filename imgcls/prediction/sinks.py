"""Where records end up: stdout, a file that appears when it is whole, or a log that a later run continues."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TextIO

from imgcls.core.files import output_error, replacing
from imgcls.prediction.output_log import OutputLog
from imgcls.prediction.records import ImageRecord, KeptRecord, Summary
from imgcls.prediction.writers import RecordWriter


class Sink(Protocol):
    """A destination of records."""

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Take the next record."""

    def finish(self, summary: Summary) -> None:
        """The inputs are through: make the output whole."""

    def abandon(self, summary: Summary) -> None:
        """The run ends early: keep what can be kept."""


class StreamSink:
    """Text that goes out as it comes, to stdout or a device.

    Args:
        file: where it goes; the caller closes it.
        writer: writes to `file`.
    """

    def __init__(self, file: TextIO, writer: RecordWriter) -> None:
        self._file = file
        self._writer = writer

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Write it and let it go at once, for whoever reads the other end."""
        assert isinstance(record, ImageRecord)
        self._writer.write(record)
        self._file.flush()

    def finish(self, summary: Summary) -> None:
        """Write what comes after the last record."""
        self._writer.finish(summary)
        self._file.flush()

    def abandon(self, summary: Summary) -> None:
        """Close the text properly all the same: what was said must still parse."""
        self.finish(summary)


class FileSink:
    """A file that appears under its name only when it is whole, early end or not.

    Args:
        path: the file.
        open_writer: makes the writer for a file that is being written.
    """

    def __init__(self, path: Path, open_writer: Callable[[Path], "ClosingWriter"]) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()
        part = self._stack.enter_context(replacing(path))
        self._writer = open_writer(part)

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Write it."""
        assert isinstance(record, ImageRecord)
        try:
            self._writer.write(record)
        except OSError as exc:
            raise output_error(self._path, exc) from exc

    def finish(self, summary: Summary) -> None:
        """Write the end and move the file into place."""
        with self._stack:
            try:
                self._writer.finish(summary)
                self._writer.close()
            except OSError as exc:
                raise output_error(self._path, exc) from exc

    def abandon(self, summary: Summary) -> None:
        """The records so far make a whole file too."""
        self.finish(summary)


class ClosingWriter(RecordWriter, Protocol):
    """A writer that holds a file of its own."""

    def close(self) -> None:
        """Close it."""


class LogSink:
    """A log that a later run continues: see `OutputLog`."""

    def __init__(self, log: OutputLog) -> None:
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
