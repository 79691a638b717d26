"""Records as a Parquet file, a row group at a time; the only module that imports pyarrow."""

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.errors import UsageError
from imgcls.outputs.record import ImageRecord, Summary

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


class ParquetWriter:
    """Writes one row an input; see `row_schema` for the columns.

    Args:
        path: the file to write; what it holds is readable only after `close`.
        metadata: facts about the whole run, plain values by name; each becomes `imgcls.NAME` in the file's key-value
            metadata, as JSON.
        row_group_records: rows that are held and written together.
    Raises:
        UsageError: pyarrow isn't installed.
        OSError: the file can't be written.
    """

    def __init__(self, path: Path, *, metadata: dict[str, Any], row_group_records: int = ROW_GROUP_RECORDS) -> None:
        require_pyarrow()
        from pyarrow import parquet

        self._schema = row_schema().with_metadata(_encoded({"schema": SCHEMA} | metadata))
        self._row_group_records = row_group_records
        self._rows: list[dict[str, Any]] = []
        self._file = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, record: ImageRecord) -> None:
        """Take one record; it is written with its row group."""
        self._rows.append(_row(record))
        if len(self._rows) >= self._row_group_records:
            self._write_rows()

    def finish(self, summary: Summary) -> None:
        """Write the last rows, and the counts as `imgcls.summary`."""
        self._write_rows()
        self._file.add_key_value_metadata(_encoded({"summary": summary.to_dict()}))

    def close(self) -> None:
        """Write the footer, without which the file can't be read."""
        self._file.close()

    def _write_rows(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()


def row_schema() -> "pa.Schema":
    """The columns: what JSON Lines has, flat but for the predictions."""
    import pyarrow as pa

    text = pa.string()
    prediction = pa.struct([("class_id", pa.int32()), ("label", text), ("probability", pa.float32())])
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
            ("uncertain", pa.bool_()),
            ("size_bytes", pa.int64()),
            ("modified_ns", pa.int64()),
        ]
    )


def _row(record: ImageRecord) -> dict[str, Any]:
    return {
        "input": record.input,
        "status": record.status,
        "error_kind": record.error.kind if record.error else None,
        "error_message": record.error.message if record.error else None,
        "width": record.width,
        "height": record.height,
        "model": record.model,
        "predictions": [
            {"class_id": p.class_id, "label": p.label, "probability": p.probability} for p in record.predictions
        ],
        "uncertain": record.uncertain,
        "size_bytes": record.version.size_bytes if record.version else None,
        "modified_ns": record.version.modified_ns if record.version else None,
    }


def _encoded(values: dict[str, Any]) -> dict[str, str]:
    return {f"imgcls.{name}": json.dumps(value, ensure_ascii=False) for name, value in values.items()}
