"""The folder of a run: parts, each written whole under the name of its block, and the manifest that ends it."""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcls.errors import OutputError
from imgcls.host.files import output_error, replacing
from imgcls.images.object_storage.urls import StorageOptions, is_object_url, shown_url
from imgcls.outputs.formats import FORMATS
from imgcls.outputs.formats.format import Layout
from imgcls.outputs.formats.values import checked
from imgcls.outputs.record import OPTIONAL_KEYS, ImageRecord
from imgcls.outputs.summary import Summary

PART_FORMATS = ("parquet", "jsonl")
MANIFEST = "manifest.json"
PREFIX = "part-"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class PartFolder:
    """Where parts are, on a disk that all workers share or in object storage.

    Attributes:
        place: a folder's absolute path, or an address.
        storage: how object storage is reached.
    """

    place: str
    storage: StorageOptions

    @property
    def shown(self) -> str:
        """As messages show it."""
        return shown_url(self.place)

    @property
    def is_remote(self) -> bool:
        """Whether it is in object storage."""
        return is_object_url(self.place)

    def read(self, name: str) -> bytes | None:
        """A file's content; None where there is none.

        Raises:
            OutputError: it can't be read.
        """
        if self.is_remote:
            content: bytes | None = self._remote(lambda store: _read(store, self._url(name)))
            return content
        try:
            return (Path(self.place) / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise output_error(Path(self.place), exc) from exc

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            OutputError: it can't be written.
        """
        if self.is_remote:
            self._remote(lambda store: store.write(self._url(name), content))
            return
        with replacing(Path(self.place) / name) as part:
            part.write_bytes(content)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            OutputError: it can't be removed.
        """
        if self.is_remote:
            self._remote(lambda store: store.remove(self._url(name)))
            return
        try:
            (Path(self.place) / name).unlink(missing_ok=True)
        except OSError as exc:
            raise output_error(Path(self.place), exc) from exc

    def names(self) -> list[str]:
        """The names of what is in it; empty where it isn't there.

        Raises:
            OutputError: it can't be listed.
        """
        if self.is_remote:
            found: list[str] = self._remote(lambda store: [each.url for each in store.list(self._url(""))])
            return sorted(url.rpartition("/")[2] for url in found)
        try:
            return sorted(each.name for each in Path(self.place).iterdir())
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise output_error(Path(self.place), exc) from exc

    def parts(self) -> list[str]:
        """The names of its parts."""
        return [name for name in self.names() if is_part(name)]

    def _url(self, name: str) -> str:
        return f"{self.place.rstrip('/')}/{name}"

    def _remote(self, ask: Any) -> Any:
        from imgcls.images.object_storage.retries import StorageError
        from imgcls.images.object_storage.store import object_store

        try:
            return ask(object_store(self.place, self.storage))
        except StorageError as exc:
            raise OutputError(
                f"can't use {self.shown}: {exc.reason}", hint="check the address and the credentials; --resume goes on"
            ) from exc


def _read(store: Any, url: str) -> bytes | None:
    from imgcls.images.object_storage.retries import StorageError

    try:
        content: bytes = store.read(url, end=2**40)
    except StorageError as exc:
        if exc.kind == "not_found":
            return None
        raise
    return content


def part_name(block_id: str, format_: str) -> str:
    """`part-0123456789abcdef.parquet`."""
    return f"{PREFIX}{block_id}{FORMATS[format_].suffixes[0]}"


def is_part(name: str) -> bool:
    """Whether a file is a part of ours, by its name."""
    return name.startswith(PREFIX) and name.endswith(tuple(FORMATS[each].suffixes[0] for each in PART_FORMATS))


def encode_part(records: list[ImageRecord], format_: str, layout: Layout, summary: Summary) -> bytes:
    """A part's content.

    Args:
        records: in the order of their inputs.
        format_: one of `PART_FORMATS`.
        layout: of a resumable output.
        summary: of these records.
    """
    encoder = FORMATS[format_].encoder(layout)
    pieces = [encoder.head(), *map(encoder.encode, records), encoder.tail(summary)]
    return b"".join(pieces)


def digest_of(content: bytes) -> str:
    """SHA-256 of a part."""
    return hashlib.sha256(content).hexdigest()


def read_part(content: bytes, name: str) -> Iterator[dict[str, Any]]:
    """The records of a part as plain values: those of `ImageRecord.to_dict`, the file's version, and the settings.

    Args:
        content: of the part.
        name: whose suffix says its format.
    Raises:
        ValueError: it is damaged, or no part.
    """
    if name.endswith(".jsonl"):
        for line in content.splitlines():
            if (values := checked(json.loads(line))) is None:
                raise ValueError("a line is no record")
            yield values
        return
    from pyarrow import parquet

    file = parquet.ParquetFile(io.BytesIO(content))
    metadata = file.schema_arrow.metadata or {}
    settings = json.loads(metadata.get(b"imgcls.settings", b'""'))
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            if (values := checked(_values(row, settings))) is None:
                raise ValueError("a row is no record")
            yield values


def _values(row: dict[str, Any], settings: str) -> dict[str, Any]:
    values: dict[str, Any] = {"input": row["input"], "status": row["status"]}
    if row["status"] == "error":
        values |= {"model": row["model"], "error": {"kind": row["error_kind"], "message": row["error_message"]}}
    else:
        predictions = [each | {"probability": float(f"{each['probability']:.7g}")} for each in row["predictions"]]
        values |= {"width": row["width"], "height": row["height"], "model": row["model"], "predictions": predictions}
    values |= {name: row[name] for name in OPTIONAL_KEYS if row.get(name) is not None}
    return values | {"size_bytes": row["size_bytes"], "modified_ns": row["modified_ns"], "settings": settings}
