"""An output file that survives being cut at any moment, and that a later run continues.

While a run works, its records go to `NAME.part`, line by line, where a reader can follow them. When it ends, the part
becomes `NAME` in one step; so `NAME` is always whole, and a part that lies there means that a run was cut. A run that
resumes keeps the records of both that still hold, appends what it makes anew to the part, and at its end writes the
records of all inputs, in input order, to the final file.
"""

import contextlib
import os
from array import array
from dataclasses import replace
from pathlib import Path

from imgcls.host.files import output_error, replacing
from imgcls.outputs.formats.format import Layout, OutputFormat, Span
from imgcls.outputs.formats.values import record_of
from imgcls.outputs.record import ImageRecord, KeptRecord
from imgcls.outputs.summary import Summary

# Bytes copied at a time when the final file is put together.
COPY_BYTES = 1 << 20


def part_path(path: Path) -> Path:
    """The file that a run in progress, or one that was cut, leaves beside its output."""
    return path.with_name(path.name + ".part")


class Journal:
    """The part file of a run, and the order in which its records end up.

    Args:
        path: the final output.
        format_: of both; one that can be read back.
        layout: of this run's records. Those of an earlier run may differ, and stay until this one ends.
        resume: continue the part that lies there, instead of starting a new one.
    Raises:
        OutputError: the part can't be written.
    """

    def __init__(self, path: Path, format_: OutputFormat, layout: Layout, *, resume: bool) -> None:
        self._path = path
        self._part = part_path(path)
        self._encoder = format_.encoder(layout)
        self._head = self._encoder.head()
        self._starts = array("q")
        self._lengths = array("q")
        self._from_part = array("b")
        self._is_over = False
        try:
            last_head = b""
            if resume and self._part.exists():
                last_head = _cut_torn_end(self._part, format_, layout)
                self._file = self._part.open("ab")
            else:
                self._file = self._part.open("wb")
            self._position = self._file.tell()
            if last_head != self._head:
                self._write(self._head)
            self._is_empty = self._position <= len(self._head)
        except OSError as exc:
            raise output_error(path, exc) from exc

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Take the next record; a new one is on its way to the disk when this returns.

        Raises:
            OutputError: it can't be written.
        """
        if isinstance(record, KeptRecord):
            if record.is_current:
                self._remember(Span(record.start, record.length), in_part=record.in_part)
                return
            record = replace(record_of(record.values), input=record.input)
        content = self._encoder.encode(record)
        start = self._position
        try:
            self._write(content)
        except OSError as exc:
            raise output_error(self._path, exc) from exc
        self._is_empty = False
        self._remember(Span(start, len(content)), in_part=True)

    def finish(self, summary: Summary) -> None:
        """Make the output whole: all records, in input order, under its own name.

        Raises:
            OutputError: it can't be written; the part stays.
        """
        try:
            self._file.close()
            if self._is_in_order():
                with self._part.open("rb+") as file:
                    os.fsync(file.fileno())
                self._part.replace(self._path)
            else:
                with replacing(self._path) as whole:
                    self.copy_in_order(whole)
                self._part.unlink()
            self._is_over = True
        except OSError as exc:
            raise output_error(self._path, exc) from exc

    def abandon(self, summary: Summary) -> None:
        """Leave the part as it is, for a later run to continue."""
        self.close()

    def close(self) -> None:
        """Let go of the part; one without a record is removed."""
        with contextlib.suppress(OSError):
            self._file.close()
            if not self._is_over and self._is_empty:
                self._part.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._file.flush()
        self._position += len(content)

    def _remember(self, span: Span, *, in_part: bool) -> None:
        self._starts.append(span.start)
        self._lengths.append(span.length)
        self._from_part.append(in_part)

    def _is_in_order(self) -> bool:
        expected = len(self._head)
        for start, length, in_part in zip(self._starts, self._lengths, self._from_part, strict=True):
            if not in_part or start != expected:
                return False
            expected += length
        return expected == self._position

    def copy_in_order(self, whole: Path) -> None:
        """Write the records into another file, in the order of their inputs."""
        with contextlib.ExitStack() as files:
            target = files.enter_context(whole.open("wb", buffering=COPY_BYTES))
            part = files.enter_context(self._part.open("rb"))
            finished = files.enter_context(self._path.open("rb")) if self._path.exists() else part
            target.write(self._head)
            for start, length, in_part in zip(self._starts, self._lengths, self._from_part, strict=True):
                source = part if in_part else finished
                source.seek(start)
                target.write(source.read(length))


def _cut_torn_end(part: Path, format_: OutputFormat, layout: Layout) -> bytes:
    """Cut off a record that is torn; gives the last head of what remains."""
    assert format_.reader is not None
    with part.open("rb+") as file:
        reader = format_.reader(file, layout)
        for _ in reader.scan():
            pass
        file.truncate(reader.num_whole_bytes)
        return reader.head
