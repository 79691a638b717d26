"""An output file that survives being cut at any moment, and that a later run continues.

While a run works, its records go to `NAME.part`, line by line, where a reader can follow them. When it ends, the part
becomes `NAME` in one step; so `NAME` is always whole, and a part that lies there means that a run was cut. A run that
resumes keeps the records of both that still hold, appends what it makes anew to the part, and at its end writes the
records of all inputs, in input order, to the final file.
"""

import contextlib
import io
import os
from array import array
from pathlib import Path

from imgcls.host.files import output_error, replacing
from imgcls.outputs.formats.text import CsvWriter, JsonlWriter, RecordWriter
from imgcls.outputs.reading import LogFormat, Span, scan_records
from imgcls.outputs.record import ImageRecord, KeptRecord

# Bytes copied at a time when the final file is put together.
COPY_BYTES = 1 << 20


def part_path(path: Path) -> Path:
    """The file that a run in progress, or one that was cut, leaves beside its output."""
    return path.with_name(path.name + ".part")


class Journal:
    """The part file of a run, and the order in which its records end up.

    Args:
        path: the final output.
        format_: of both.
        top_k: classes a record, for CSV's columns.
        threshold: whether records say which answers are uncertain.
        settings: digest of what shapes an answer, written into each record.
        resume: continue the part that lies there, instead of starting a new one.
    Raises:
        OutputError: the part can't be written.
    """

    def __init__(
        self, path: Path, format_: LogFormat, *, top_k: int, threshold: bool, settings: str, resume: bool
    ) -> None:
        self._path = path
        self._part = part_path(path)
        self._format: LogFormat = format_
        self._top_k = top_k
        self._threshold = threshold
        self._settings = settings
        self._starts = array("q")
        self._lengths = array("q")
        self._from_part = array("b")
        self._is_over = False
        try:
            if resume and self._part.exists():
                self._cut_torn_end()
                self._file = self._part.open("ab")
            else:
                self._file = self._part.open("wb")
            self._position = self._file.tell()
            if format_ == "csv" and self._position == 0:
                self._write(self._header())
        except OSError as exc:
            raise output_error(path, exc) from exc

    def append(self, record: ImageRecord | KeptRecord) -> None:
        """Take the next record; a new one is on its way to the disk when this returns.

        Raises:
            OutputError: it can't be written.
        """
        if isinstance(record, KeptRecord):
            self._remember(Span(record.start, record.length), in_part=record.in_part)
            return
        content = self._encoded(record)
        start = self._position
        try:
            self._write(content)
        except OSError as exc:
            raise output_error(self._path, exc) from exc
        self._remember(Span(start, len(content)), in_part=True)

    def finish(self) -> None:
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
                    self._copy_in_order(whole)
                self._part.unlink()
            self._is_over = True
        except OSError as exc:
            raise output_error(self._path, exc) from exc

    def abandon(self) -> None:
        """Leave the part as it is, for a later run to continue; one without a record is removed."""
        with contextlib.suppress(OSError):
            self._file.close()
            if not self._is_over and self._position <= len(self._header()):
                self._part.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._file.flush()
        self._position += len(content)

    def _remember(self, span: Span, *, in_part: bool) -> None:
        self._starts.append(span.start)
        self._lengths.append(span.length)
        self._from_part.append(in_part)

    def _encoded(self, record: ImageRecord) -> bytes:
        text = io.StringIO()
        self._writer(text, header=False).write(record)
        return text.getvalue().encode("utf-8")

    def _header(self) -> bytes:
        text = io.StringIO()
        self._writer(text, header=True)
        return text.getvalue().encode("utf-8")

    def _writer(self, text: io.StringIO, *, header: bool) -> RecordWriter:
        if self._format == "jsonl":
            return JsonlWriter(text, settings=self._settings)
        return CsvWriter(text, self._top_k, threshold=self._threshold, settings=self._settings, header=header)

    def _cut_torn_end(self) -> None:
        header = self._header()
        with self._part.open("rb+") as file:
            # A header for another number of classes belongs to another run: start over.
            whole = len(header) if file.read(len(header)) == header else 0
            file.seek(0)
            if whole or self._format == "jsonl":
                for span, _record in scan_records(file, self._format):
                    whole = span.start + span.length
            file.truncate(whole)

    def _is_in_order(self) -> bool:
        expected = len(self._header())
        for start, length, in_part in zip(self._starts, self._lengths, self._from_part, strict=True):
            if not in_part or start != expected:
                return False
            expected += length
        return expected == self._position

    def _copy_in_order(self, whole: Path) -> None:
        with contextlib.ExitStack() as files:
            target = files.enter_context(whole.open("wb", buffering=COPY_BYTES))
            part = files.enter_context(self._part.open("rb"))
            finished = files.enter_context(self._path.open("rb")) if self._path.exists() else part
            target.write(self._header())
            for start, length, in_part in zip(self._starts, self._lengths, self._from_part, strict=True):
                source = part if in_part else finished
                source.seek(start)
                target.write(source.read(length))
