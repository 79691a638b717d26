"""Parquet: columns in row groups, for analysis; the only module that imports pyarrow for it."""

import importlib.util
import io
import json
from typing import TYPE_CHECKING, Any

from imgcls.errors import UsageError
from imgcls.outputs.formats.format import Layout, OutputFormat
from imgcls.outputs.record import OPTIONAL_KEYS, ImageRecord
from imgcls.outputs.summary import Summary

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = 1
# Records held before they are written. A reader skips and decodes whole row groups, so small ones cost it time; ten
# thousand records of five classes take some 25 MiB here and under 1 MiB in the file.
ROW_GROUP_RECORDS = 10_000


def require_pyarrow() -> None:
    """Say how to get pyarrow where it is missing; doesn't import it.

    Raises:
        UsageError: it isn't installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "writing parquet needs pyarrow, which is not installed", hint="pip install 'imgcls[parquet]', or use -f csv"
        )


class ParquetEncoder:
    """Writes one row per input; see `row_schema` for the columns.

    Args:
        layout: its facts become `imgcls.NAME` in the file's key-value metadata, as JSON.
        row_group_records: rows that are held and written together.
    Raises:
        UsageError: pyarrow isn't installed.
    """

    def __init__(self, layout: Layout, *, row_group_records: int = ROW_GROUP_RECORDS) -> None:
        require_pyarrow()
        from pyarrow import parquet

        self._row_group_records = row_group_records
        self._rows: list[dict[str, Any]] = []
        self._made = _Made()
        self._schema = row_schema().with_metadata(_encoded({"schema": SCHEMA} | layout.facts))
        self._writer = parquet.ParquetWriter(self._made, self._schema, compression="zstd")

    def head(self) -> bytes:
        """The file's first four bytes."""
        return self._made.take()

    def encode(self, record: ImageRecord) -> bytes:
        """A row group, once it is full."""
        self._rows.append(_row(record))
        if len(self._rows) >= self._row_group_records:
            self._write_rows()
        return self._made.take()

    def tail(self, summary: Summary) -> bytes:
        """The last rows, the counts as `imgcls.summary`, and the footer."""
        self._write_rows()
        self._writer.add_key_value_metadata(_encoded({"summary": summary.to_dict()}))
        self._writer.close()
        return self._made.take()

    def _write_rows(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


class _Made(io.RawIOBase):
    """A file that holds only what has not been taken yet."""

    def __init__(self) -> None:
        self._content = bytearray()
        self._num_taken = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._content += content
        return len(content)

    def tell(self) -> int:
        return self._num_taken + len(self._content)

    def take(self) -> bytes:
        content = bytes(self._content)
        self._num_taken += len(content)
        self._content.clear()
        return content


def row_schema() -> "pa.Schema":
    """The columns: what JSON Lines has, flat but for the predictions."""
    import pyarrow as pa

    text = pa.string()
    prediction = pa.struct([("class_id", pa.int32()), ("label", text), ("probability", pa.float32())])
    kinds = {bool: pa.bool_(), int: pa.int32(), tuple: pa.list_(text)}
    return pa.schema(
        [
            pa.field("input", text, nullable=False),
            pa.field("status", text, nullable=False),
            ("error_kind", text),
            ("error_message", text),
            ("width", pa.int32()),
            ("height", pa.int32()),
            pa.field("model", text, nullable=False),
            ("predictions", pa.list_(prediction)),
            *((name, kinds[kind]) for name, kind in OPTIONAL_KEYS.items()),
            ("size_bytes", pa.int64()),
            ("modified_ns", pa.int64()),
        ]
    )


def _row(record: ImageRecord) -> dict[str, Any]:
    row: dict[str, Any] = {
        "input": record.input,
        "status": record.status,
        "error_kind": record.error.kind if record.error else None,
        "error_message": record.error.message if record.error else None,
        "width": record.width,
        "height": record.height,
        "model": record.model,
        "predictions": [
            {"class_id": p.class_id, "label": _valid(p.label), "probability": p.probability} for p in record.predictions
        ],
        "size_bytes": record.version.size_bytes if record.version else None,
        "modified_ns": record.version.modified_ns if record.version else None,
    }
    for name in OPTIONAL_KEYS:
        value = getattr(record, name)
        row[name] = [_valid(label) for label in value] if isinstance(value, tuple) else value
    return row


def _valid(label: str) -> str:
    """A label without lone surrogates, which Parquet's text can't hold."""
    return label.encode("utf-8", "backslashreplace").decode("utf-8")


def _encoded(values: dict[str, Any]) -> dict[str, str]:
    return {f"imgcls.{name}": _valid(json.dumps(value, ensure_ascii=False)) for name, value in values.items()}


PARQUET = OutputFormat("parquet", (".parquet",), ParquetEncoder, is_text=False, require=require_pyarrow)
