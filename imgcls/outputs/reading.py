"""Reading back what a run has written, be it torn off in the middle of a record."""

import csv
import io
import json
from collections.abc import Iterator
from typing import BinaryIO, Literal, NamedTuple

from imgcls.outputs.record import FileVersion

LogFormat = Literal["jsonl", "csv"]


class Span(NamedTuple):
    """Where one record stands in a file, in bytes."""

    start: int
    length: int


def scan_records(file: BinaryIO, format_: LogFormat) -> Iterator[tuple[Span, bytes]]:
    """Walk through a file's whole records; one that is torn off at the end is left out.

    Args:
        file: at its start.
        format_: `csv` records, whose header is left out too, may hold line feeds inside quotes.
    """
    start = 0
    lines: list[bytes] = []
    quotes = 0
    is_header = format_ == "csv"
    for line in file:
        lines.append(line)
        quotes += line.count(b'"') if format_ == "csv" else 0
        if not line.endswith(b"\n") or quotes % 2:
            continue
        record = b"".join(lines)
        if not is_header:
            yield Span(start, len(record)), record
        start += len(record)
        lines, quotes, is_header = [], 0, False


class WrittenRecord(NamedTuple):
    """What a later run needs to know of a record in a file.

    Attributes:
        input: the input's name.
        is_ok: whether it was classified.
        settings: digest of what shaped the answer.
        version: of the file, or None.
        label, probability: of the most probable class.
    """

    input: str
    is_ok: bool
    settings: str
    version: FileVersion | None
    label: str
    probability: float


def read_record(content: bytes, format_: LogFormat, columns: list[str]) -> WrittenRecord | None:
    """Read a record back, or None where it isn't one of ours.

    Args:
        content: its bytes, as `scan_records` gives them.
        format_: of the file.
        columns: CSV's header, else empty.
    """
    try:
        if format_ == "jsonl":
            values = json.loads(content)
            best = values["predictions"][0] if values["status"] == "ok" else {}
            size, modified = values.get("size_bytes"), values.get("modified_ns")
        else:
            row = next(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
            values = dict(zip(columns, row, strict=True))
            best = {"label": values["label_1"], "probability": values["probability_1"] or 0}
            size, modified = (int(values[key]) if values[key] else None for key in ("size_bytes", "modified_ns"))
        return WrittenRecord(
            input=values["input"],
            is_ok=values["status"] == "ok",
            settings=values.get("settings", ""),
            version=None if size is None or modified is None else FileVersion(size, modified),
            label=best.get("label", ""),
            probability=float(best.get("probability", 0)),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, StopIteration, csv.Error):
        return None
