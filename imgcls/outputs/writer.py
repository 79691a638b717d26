"""Where records end up, behind one small protocol; here: text or a file that is written from its start to its end.

The two others are the `Journal`, which a later run continues, and the `HtmlReport`.
"""

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from imgcls.errors import OutputError
from imgcls.outputs.formats.format import Encoder
from imgcls.outputs.record import ImageRecord, KeptRecord
from imgcls.outputs.summary import Summary


class OutputWriter(Protocol):
    """Takes the records of a run."""

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Take the next record."""

    def finish(self, summary: Summary) -> None:
        """The inputs are through: make the output whole."""

    def abandon(self, summary: Summary) -> None:
        """The run ends early: keep what can be kept."""


class PlainWriter:
    """Writes records as they come, to stdout, a device or a file; a context manager.

    After an error, leaving it ends the output properly all the same: what was written must still parse.

    Args:
        file: where the bytes go; the caller closes it.
        encoder: makes the bytes.
        stream: what to call a stream that somebody may be reading along, so that each record is let go at once; None
            for a file that appears when it is whole.
    Raises:
        OutputError: the stream can't be written to; a file raises what `open` does.
    """

    def __init__(self, file: BinaryIO, encoder: Encoder, stream: str | None) -> None:
        self._file = file
        self._encoder = encoder
        self._stream = stream
        self._summary = Summary()
        self._write(encoder.head())

    def __enter__(self) -> Self:
        """Nothing is left to open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the output, unless it can't be written."""
        # Where the destination itself fails, or somebody wants out at once, nothing more is written.
        if isinstance(exc, Exception) and not isinstance(exc, (OSError, OutputError)):
            self._summary.ended = "failed"
            with contextlib.suppress(OSError, OutputError):
                self.finish(self._summary)

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Write it.

        Raises:
            OutputError: as above.
        """
        assert isinstance(record, ImageRecord)
        self._summary.add(record)
        self._write(self._encoder.encode(record), flush=self._stream is not None)

    def finish(self, summary: Summary) -> None:
        """Write what comes after the last record.

        Raises:
            OutputError: as above.
        """
        self._write(self._encoder.tail(summary), flush=True)

    def abandon(self, summary: Summary) -> None:
        """The records so far make a whole output too; where it has a summary, that says that there is more."""
        self.finish(summary)

    def _write(self, content: bytes, *, flush: bool = False) -> None:
        with writing(self._stream) if self._stream else contextlib.nullcontext():
            self._file.write(content)
            if flush:
                self._file.flush()


@contextlib.contextmanager
def writing(name: str) -> Iterator[None]:
    """Turn what the system says of a stream that can't be written to into an error for people.

    Args:
        name: of the stream.
    Raises:
        OutputError: it can't be written to.
    """
    try:
        yield
    except BrokenPipeError:
        # The reader has gone: no fault of ours, and the command ends quietly.
        raise
    except OSError as exc:
        raise OutputError(
            f"can't write to {name}: {exc.strerror or exc}", hint="free some space, or name a file with --output"
        ) from exc
