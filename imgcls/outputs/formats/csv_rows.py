"""CSV: one row per input, the same columns wherever it goes.

A journal may hold rows of several runs that differ in their columns, as after another `--top-k`: each run's rows stand
under a head of their own, and the reader keeps them apart. The whole file that a run ends with has one head.
"""

import bisect
import csv
import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from imgcls.outputs.formats.format import Layout, OutputFormat, Span
from imgcls.outputs.formats.values import checked, journal_values
from imgcls.outputs.record import OPTIONAL_KEYS, ImageRecord
from imgcls.outputs.summary import Summary

# No record begins like this, as "status" is no status.
HEAD_BEGINS = b"input,status,error,"
# What a spreadsheet takes for a formula: OWASP, "CSV injection".
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")
WORDS = {True: "true", False: "false", None: ""}


def columns_for(top_k: int) -> list[str]:
    """The names of the columns; those of version 0.1 come first, as scripts count on."""
    ranks = range(1, top_k + 1)
    pairs = [f"{column}_{rank}" for rank in ranks for column in ("label", "probability")]
    ids = [f"class_id_{rank}" for rank in ranks]
    versions = ["size_bytes", "modified_ns", "settings"]
    return ["input", "status", "error", *pairs, *ids, "width", "height", "model", *OPTIONAL_KEYS, *versions]


class CsvEncoder:
    """Writes a row per record; the columns of what a record hasn't got are empty."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._text = io.StringIO()
        self._plain = csv.writer(self._text, lineterminator="\n")
        # Where a name holds a carriage return, Python before 3.13 doesn't see that it needs quotes.
        self._quoted = csv.writer(self._text, lineterminator="\n", quoting=csv.QUOTE_ALL)

    def head(self) -> bytes:
        """The names of the columns."""
        return self._row(columns_for(self._layout.top_k))

    def encode(self, record: ImageRecord) -> bytes:
        """One row."""
        error = f"{record.error.kind}: {record.error.message}" if record.error else ""
        # There may be more of them where an image has many labels, which the column of that name holds.
        predictions = record.predictions[: self._layout.top_k]
        pairs = [cell for p in predictions for cell in (p.label, f"{p.probability:.7g}")]
        padding = [""] * (self._layout.top_k - len(predictions))
        ids = [str(p.class_id) for p in predictions]
        optional = [getattr(record, name) for name in OPTIONAL_KEYS]
        cells = [record.input, record.status, error, *pairs, *padding, *padding, *ids, *padding]
        cells += map(_cell, (record.width, record.height, record.model, *optional))
        cells += map(_cell, journal_values(record, self._layout.settings).values())
        return self._row([_escaped(cell) for cell in cells] if self._layout.csv_safe else cells)

    def tail(self, summary: Summary) -> bytes:
        """Nothing comes after the last row."""
        return b""

    def _row(self, cells: list[str]) -> bytes:
        self._text.seek(0)
        self._text.truncate()
        (self._quoted if any("\r" in cell for cell in cells) else self._plain).writerow(cells)
        return self._text.getvalue().encode("utf-8", "backslashreplace")


class CsvReader:
    """Reads rows back, also those of version 0.1, which have fewer columns; see `Reader`."""

    def __init__(self, file: BinaryIO, layout: Layout) -> None:
        self._file = file
        self._layout = layout
        self._class_ids = {label: index for index, label in reversed(list(enumerate(layout.classes)))}
        self._starts: list[int] = []
        self._heads: list[bytes] = []
        self._columns: list[list[str]] = []
        self.num_whole_bytes = 0

    @property
    def head(self) -> bytes:
        """The last head of the file."""
        return self._heads[-1] if self._heads else b""

    def scan(self) -> Iterator[tuple[Span, dict[str, Any] | None]]:
        """Walk through the whole rows, which may hold line feeds inside quotes."""
        self._file.seek(0)
        self.num_whole_bytes = 0
        lines: list[bytes] = []
        num_quotes = 0
        for line in self._file:
            lines.append(line)
            num_quotes += line.count(b'"')
            if not line.endswith(b"\n") or num_quotes % 2:
                continue
            content = b"".join(lines)
            span = Span(self.num_whole_bytes, len(content))
            self.num_whole_bytes += len(content)
            lines, num_quotes = [], 0
            if content.startswith(HEAD_BEGINS):
                self._starts.append(span.start)
                self._heads.append(content)
                self._columns.append(_columns(content))
            else:
                yield span, self._values(content, span)

    def read(self, span: Span) -> dict[str, Any] | None:
        """The values of a row."""
        self._file.seek(span.start)
        return self._values(self._file.read(span.length), span)

    def is_current(self, span: Span, head: bytes) -> bool:
        """Whether a row has the columns of this head."""
        number = bisect.bisect(self._starts, span.start) - 1
        return number >= 0 and self._heads[number] == head

    def _values(self, content: bytes, span: Span) -> dict[str, Any] | None:
        number = bisect.bisect(self._starts, span.start) - 1
        if number < 0:
            return None
        try:
            cells = next(csv.reader(io.StringIO(content.decode("utf-8"), newline="")))
            if self._layout.csv_safe:
                cells = [_unescaped(cell) for cell in cells]
            return checked(self._of_row(dict(zip(self._columns[number], cells, strict=True))))
        except (ValueError, KeyError, StopIteration, csv.Error):
            return None

    def _of_row(self, row: dict[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {key: row[key] for key in ("input", "status")}
        values["settings"] = row.get("settings", "")
        # Version 0.1 left these out; a record is kept only where the model is the same.
        values["model"] = row.get("model", self._layout.model.get("id", ""))
        for key in ("width", "height", "size_bytes", "modified_ns"):
            values[key] = int(row[key]) if row.get(key) else None
        for key, kind in OPTIONAL_KEYS.items():
            if text := row.get(key):
                values[key] = _read_optional(text, kind)
        predictions: list[dict[str, Any]] = []
        while label := row.get(f"label_{(rank := len(predictions) + 1)}"):
            class_id = row.get(f"class_id_{rank}") or self._class_ids.get(label, -1)
            probability = float(row[f"probability_{rank}"])
            predictions.append({"class_id": int(class_id), "label": label, "probability": probability})
        return values | {"predictions": predictions}


def _columns(head: bytes) -> list[str]:
    """The names in a head; none, so that no row fits it, where it isn't one of ours."""
    try:
        return next(csv.reader([head.decode("utf-8", "replace")]), [])
    except csv.Error:
        return []


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        # Labels may hold any character.
        return json.dumps(value, ensure_ascii=False)
    return WORDS[value] if value is None or isinstance(value, bool) else str(value)


def _read_optional(text: str, kind: type) -> Any:
    """The value of one of `OPTIONAL_KEYS`, as `_cell` wrote it.

    Raises:
        ValueError: it is none.
    """
    if kind is tuple:
        return json.loads(text)
    return int(text) if kind is int else text == WORDS[True]


def _escaped(cell: str) -> str:
    return f"'{cell}" if cell.startswith((*FORMULA_BEGINS, "'")) else cell


def _unescaped(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


CSV = OutputFormat("csv", (".csv",), CsvEncoder, CsvReader)
