"""JSON Lines: one object per line."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from imgcls.outputs.formats.format import Layout, OutputFormat, Span
from imgcls.outputs.formats.values import checked, journal_values
from imgcls.outputs.record import ImageRecord
from imgcls.outputs.summary import Summary


class JsonlEncoder:
    """Writes a line per record; an output that may be resumed also says which version of the file was classified."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def head(self) -> bytes:
        """Nothing comes before the first line."""
        return b""

    def encode(self, record: ImageRecord) -> bytes:
        """One line."""
        values = record.to_dict()
        if self._layout.is_resumable:
            values |= journal_values(record, self._layout.settings)
        # A lone surrogate becomes its JSON escape.
        text = json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n"
        return text.encode("utf-8", "backslashreplace")

    def tail(self, summary: Summary) -> bytes:
        """Nothing comes after the last line."""
        return b""


class JsonlReader:
    """Reads lines back; see `Reader`."""

    def __init__(self, file: BinaryIO, _layout: Layout) -> None:
        self._file = file
        self.num_whole_bytes = 0

    @property
    def head(self) -> bytes:
        """Lines have none."""
        return b""

    def scan(self) -> Iterator[tuple[Span, dict[str, Any] | None]]:
        """Walk through the lines that have an end."""
        self._file.seek(0)
        self.num_whole_bytes = 0
        for line in self._file:
            if line.endswith(b"\n"):
                span = Span(self.num_whole_bytes, len(line))
                self.num_whole_bytes += len(line)
                yield span, _values(line)

    def read(self, span: Span) -> dict[str, Any] | None:
        """The values of a line."""
        self._file.seek(span.start)
        return _values(self._file.read(span.length))

    def is_current(self, span: Span, head: bytes) -> bool:
        """A line needs no head."""
        return True


def _values(line: bytes) -> dict[str, Any] | None:
    try:
        return checked(json.loads(line))
    except (ValueError, RecursionError):
        return None


JSONL = OutputFormat("jsonl", (".jsonl", ".ndjson"), JsonlEncoder, JsonlReader)
