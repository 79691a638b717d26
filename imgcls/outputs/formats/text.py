"""Records as text: a table for people; JSON, JSON Lines and CSV for parsers. Each record is written as it comes."""

import csv
import json
from typing import Any, Protocol, TextIO

from imgcls.outputs.record import ImageRecord, Summary

SCHEMA = 1
BAR_WIDTH = 20


class RecordWriter(Protocol):
    """One way to write records."""

    def write(self, record: ImageRecord) -> None:
        """Write one record."""

    def finish(self, summary: Summary) -> None:
        """Write what comes after the last record."""


class JsonlWriter:
    """One JSON object a line.

    Args:
        file: where it goes.
        settings: for an output that a later run may continue: a digest of what shaped the answers, written into each
            record with the file's version.
    """

    def __init__(self, file: TextIO, *, settings: str = "") -> None:
        self._file = file
        self._settings = settings

    def write(self, record: ImageRecord) -> None:
        """Write one line."""
        values = record.to_dict()
        if self._settings:
            size_bytes, modified_ns = record.version or (None, None)
            values |= {"size_bytes": size_bytes, "modified_ns": modified_ns, "settings": self._settings}
        self._file.write(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")

    def finish(self, summary: Summary) -> None:
        """Nothing comes after the last line."""


class JsonWriter:
    """One JSON object: `schema`, `model`, `results`, `summary`."""

    def __init__(self, file: TextIO, model: dict[str, Any]) -> None:
        self._file = file
        self._separator = "\n"
        head = json.dumps({"schema": SCHEMA, "model": model}, ensure_ascii=False, allow_nan=False)
        file.write(head[:-1] + ', "results": [')

    def write(self, record: ImageRecord) -> None:
        """Write one element of `results`."""
        self._file.write(self._separator + json.dumps(record.to_dict(), ensure_ascii=False, allow_nan=False))
        self._separator = ",\n"

    def finish(self, summary: Summary) -> None:
        """Close the list and add the counts."""
        self._file.write('\n], "summary": ' + json.dumps(summary.to_dict()) + "}\n")


class CsvWriter:
    """One line an input; the columns of classes that an input doesn't have are empty.

    Args:
        file: where it goes.
        top_k: how many classes a record names.
        threshold: whether a column says which answers are uncertain.
        settings: as for `JsonlWriter`; three columns more.
        header: whether to write the names of the columns first.
    """

    def __init__(
        self, file: TextIO, top_k: int, *, threshold: bool = False, settings: str = "", header: bool = True
    ) -> None:
        self._top_k = top_k
        self._threshold = threshold
        self._settings = settings
        self._csv = csv.writer(file, lineterminator="\n")
        # Where a name holds a carriage return, Python before 3.13 doesn't see that it needs quotes.
        self._quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        if header:
            pairs = [f"{column}_{rank}" for rank in range(1, top_k + 1) for column in ("label", "probability")]
            extra = (["uncertain"] if threshold else []) + (
                ["size_bytes", "modified_ns", "settings"] if settings else []
            )
            self._csv.writerow(["input", "status", "error", *pairs, *extra])

    def write(self, record: ImageRecord) -> None:
        """Write one line."""
        error = f"{record.error.kind}: {record.error.message}" if record.error else ""
        cells = [cell for p in record.predictions for cell in (p.label, f"{p.probability:.7g}")]
        padding = [""] * (2 * self._top_k - len(cells))
        extra: list[object] = []
        if self._threshold:
            extra.append("" if record.uncertain is None else str(record.uncertain).lower())
        if self._settings:
            extra += [*(record.version or ("", "")), self._settings]
        row = [record.input, record.status, error, *cells, *padding, *extra]
        (self._quoted if any("\r" in str(cell) for cell in row) else self._csv).writerow(row)

    def finish(self, summary: Summary) -> None:
        """Nothing comes after the last line."""


class TableWriter:
    """For people: an image's name, then its classes with their share; one line an image when one class is asked for.

    Args:
        file: where it goes.
        top_k: how many classes an image has.
        colour: whether the terminal shows colours.
    """

    def __init__(self, file: TextIO, top_k: int, *, colour: bool) -> None:
        self._file = file
        self._top_k = top_k
        self._bold, self._dim, self._red, self._off = (
            ("\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m") if colour else ("", "", "", "")
        )

    def write(self, record: ImageRecord) -> None:
        """Write one image's block."""
        name = printable(record.input)
        doubt = " (uncertain)" if record.uncertain else ""
        if record.error:
            reason = printable(f"{record.error.kind}: {record.error.message}")
            self._file.write(f"{self._bold}{name}{self._off}  {self._red}{reason}{self._off}\n")
        elif self._top_k == 1:
            best = record.predictions[0]
            self._file.write(f"{best.probability:8.2%}  {printable(best.label)}{doubt}  {self._dim}{name}{self._off}\n")
        else:
            size = f"{record.width} x {record.height}"
            self._file.write(f"{self._bold}{name}{self._off}  {self._dim}{size}{self._off}{doubt}\n")
            labels = [printable(p.label) for p in record.predictions]
            width = max(map(len, labels))
            for p, label in zip(record.predictions, labels, strict=True):
                bar = "█" * round(p.probability * BAR_WIDTH)
                line = f"  {p.probability:8.2%}  {label:<{width}}  {self._dim}{bar}"
                self._file.write(line.rstrip() + self._off + "\n")

    def finish(self, summary: Summary) -> None:
        """Nothing comes after the last block."""


def printable(text: str) -> str:
    """A text whose line feeds, escape sequences and the like a terminal shows instead of obeying."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def build_writer(
    format_: str, file: TextIO, *, model: dict[str, Any], top_k: int, threshold: bool = False, colour: bool = False
) -> RecordWriter:
    """The writer for a format.

    Args:
        format_: `table`, `json`, `jsonl` or `csv`.
        file: where it goes.
        model: `Backend.describe()`.
        top_k: how many classes a record names.
        threshold: whether answers are marked as uncertain.
        colour: whether a table has colours.
    """
    if format_ == "json":
        return JsonWriter(file, model)
    if format_ == "jsonl":
        return JsonlWriter(file)
    if format_ == "csv":
        return CsvWriter(file, top_k, threshold=threshold)
    return TableWriter(file, top_k, colour=colour)
