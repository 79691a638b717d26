"""Lists of inputs in a table: one column of a Parquet, CSV or TSV file, read in blocks and never whole."""

import codecs
import csv
import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from imgcls.errors import DataError, UsageError
from imgcls.images.inputs.stdin import STDIN, standard_input

PARQUET = ".parquet"
# What people call the column, in whatever case; the first that there is.
USUAL_COLUMNS = ("path", "file", "filename", "file_name", "image", "image_path", "filepath", "url", "input")
# Names that are held at a time; a Parquet file's reader decodes so many rows at once.
BLOCK_ROWS = 16_384


def is_table_list(source: str, column: str | None) -> bool:
    """Whether a list is a table: Parquet always is, text where a column is named."""
    return column is not None or Path(source).suffix.lower() == PARQUET


def read_column(source: str, column: str | None = None, *, stdin: BinaryIO | None = None) -> Iterator[str]:
    """Yield the entries of a column in the order of the rows; empty ones are passed over.

    Args:
        source: a Parquet, CSV or TSV file, or `-` for CSV on stdin.
        column: its name, in whatever case; None takes the first of `USUAL_COLUMNS` that there is.
        stdin: where `-` reads.
    Raises:
        DataError: the table can't be read.
        UsageError: it has no such column, or pyarrow isn't installed.
    """
    if Path(source).suffix.lower() == PARQUET:
        yield from _parquet_column(source, column)
        return
    try:
        if source == STDIN:
            yield from _text_column(source, stdin or standard_input(), column)
        else:
            with Path(source).open("rb") as file:
                yield from _text_column(source, file, column)
    except OSError as exc:
        raise DataError(f"can't read the list {source}: {exc.strerror or exc}", hint="check the path") from exc


def _text_column(source: str, file: BinaryIO, column: str | None) -> Iterator[str]:
    # Bytes outside UTF-8 are bytes of a name, as in a list of lines.
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        head = text.readline().removeprefix(codecs.BOM_UTF8.decode())
        if head.startswith(("\udcff\udcfe", "\udcfe\udcff")):
            raise DataError("the list is in UTF-16", hint="save it as UTF-8")
        delimiter = max(",;\t", key=head.count)
        names = next(csv.reader([head], delimiter=delimiter), [])
        place = _place_of(source, names, column)
        for row in csv.reader(text, delimiter=delimiter):
            if len(row) > place and row[place]:
                yield row[place]
    except csv.Error as exc:
        raise DataError(f"can't read the list {source}: {exc}", hint="save it as CSV with quotes, or Parquet") from exc
    finally:
        # Whose file it is closes it.
        text.detach()


def _parquet_column(source: str, column: str | None) -> Iterator[str]:
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(f"reading {source} needs pyarrow, not installed here", hint="pip install 'imgcls[parquet]'")
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(source) as table:
            names = table.schema_arrow.names
            name = names[_place_of(source, names, column)]
            kind = table.schema_arrow.field(name).type
            if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
                raise UsageError(f"the column {name!r} of {source} holds {kind}, no text", hint="--input-column NAME")
            for block in table.iter_batches(batch_size=BLOCK_ROWS, columns=[name]):
                yield from filter(None, block.column(0).to_pylist())
    except FileNotFoundError as exc:
        raise DataError(f"can't read the list {source}: no such file", hint="check the path") from exc
    except (OSError, pa.ArrowException) as exc:
        said = str(exc).partition("\n")[0]
        raise DataError(f"can't read the list {source}: {said}", hint="check that it is a Parquet file") from exc


def _place_of(source: str, names: list[str], column: str | None) -> int:
    """Where the column stands.

    Raises:
        UsageError: there is none of that name, or no usual one.
    """
    if column in names:
        return names.index(column)
    place_of = {name.strip().lower(): place for place, name in reversed(list(enumerate(names)))}
    wanted = USUAL_COLUMNS if column is None else (column.strip().lower(),)
    found = next((place_of[name] for name in wanted if name in place_of), None)
    if found is None:
        what = f"no column {column!r}" if column is not None else "no column of a usual name, such as path"
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        raise UsageError(f"{source} has {what}", hint=f"--input-column takes one of: {shown}")
    return found
