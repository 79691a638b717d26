"""What earlier runs have done: which inputs need no second look."""

import contextlib
import csv
import hashlib
import io
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from imgcls.errors import OutputError
from imgcls.images.sources import Source
from imgcls.outputs.journal import part_path
from imgcls.outputs.reading import LogFormat, Span, read_record, scan_records
from imgcls.outputs.record import KeptRecord, file_version


class Found(NamedTuple):
    """What earlier runs know of an input.

    Attributes:
        is_known: whether there is a record of it, be it outdated.
        kept: the record that still holds, or None.
    """

    is_known: bool
    kept: KeptRecord | None


class EarlierRecords:
    """The records of a finished output and of a part that was cut, found by input.

    Twenty-six bytes of memory a record, whatever its length: a hash of the input's name, and where it stands. What is
    found is read again from the file and compared, so that two names with one hash can't be confused.

    Args:
        path: the final output; its part lies beside it.
        format_: of both.
        settings: digest of what shapes an answer; records made otherwise are not kept.
    Raises:
        OutputError: a file is there but can't be read, or the output is somebody else's file.
    """

    def __init__(self, path: Path, format_: LogFormat, *, settings: str) -> None:
        self._format: LogFormat = format_
        self._settings = settings
        self._files: list[BinaryIO] = []
        self._columns: list[list[str]] = []
        keys, starts, lengths = array("Q"), array("q"), array("q")
        counts = []
        hint = "name another --output; --overwrite replaces this one"
        with contextlib.ExitStack() as opened:
            opened.callback(self.close)
            # The part last: where both have an input, its record is the newer one.
            for source in (path, part_path(path)):
                before = len(keys)
                try:
                    file = source.open("rb") if source.exists() else io.BytesIO()
                    self._files.append(file)
                    self._columns.append(self._read_columns(file))
                    self._index(file, self._columns[-1], keys, starts, lengths)
                    is_empty = file.seek(0, io.SEEK_END) == 0
                except OSError as exc:
                    raise OutputError(f"can't read {source}: {exc.strerror or exc}", hint=hint) from exc
                counts.append(len(keys) - before)
                is_ours = counts[-1] or is_empty or self._columns[-1][:3] == ["input", "status", "error"]
                # Beside a part, somebody has already said that it may be overwritten.
                if source == path and not is_ours and not part_path(path).exists():
                    raise OutputError(f"{path} holds no records in {format_} that --resume could keep", hint=hint)
            opened.pop_all()
        unsorted = np.frombuffer(keys, dtype=np.uint64) if keys else np.empty(0, np.uint64)
        # Stable, so that of equal keys the newest stands last.
        order = np.argsort(unsorted, kind="stable")
        self._keys = unsorted[order]
        self._starts = np.frombuffer(starts, dtype=np.int64)[order] if starts else np.empty(0, np.int64)
        self._lengths = np.frombuffer(lengths, dtype=np.int64)[order] if lengths else np.empty(0, np.int64)
        self._in_part = (order >= counts[0]) if len(order) else np.empty(0, bool)
        self._is_met = np.zeros(len(order), bool)
        self.num_met = 0
        """How many inputs so far had a record, whether it still holds or not."""

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._keys)

    def count_unmet(self) -> int:
        """How many inputs have a record, but none of them came up so far; two names with one hash count as one."""
        if len(self._keys) == 0:
            return 0
        is_newest = np.append(self._keys[1:] != self._keys[:-1], True)
        return int(np.count_nonzero(is_newest & ~self._is_met))

    def find(self, source: Source) -> Found:
        """Look an input up; its record holds if file, model and question are the same as then."""
        version = file_version(source.path)
        is_known = False
        # As a plain int it would turn the whole array into floats, at each look-up.
        key = np.uint64(_hash(source.name))
        # From the newest record of that key to the oldest.
        index = newest = int(np.searchsorted(self._keys, key, side="right")) - 1
        while index >= 0 and self._keys[index] == key:
            in_part = bool(self._in_part[index])
            span = Span(int(self._starts[index]), int(self._lengths[index]))
            file = self._files[in_part]
            file.seek(span.start)
            written = read_record(file.read(span.length), self._format, self._columns[in_part])
            if written is not None and written.input == source.name:
                self.num_met += not is_known
                self._is_met[newest] = True
                is_known = True
                is_same = version is not None and version == written.version
                if is_same and written.is_ok and written.settings == self._settings:
                    kept = KeptRecord(
                        written.input, span.start, span.length, in_part, written.label, written.probability
                    )
                    return Found(True, kept)
            index -= 1
        return Found(is_known, None)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def _read_columns(self, file: BinaryIO) -> list[str]:
        if self._format == "jsonl":
            return []
        with contextlib.suppress(UnicodeDecodeError, StopIteration, csv.Error):
            return next(csv.reader([file.readline().decode("utf-8")]))
        return []

    def _index(
        self, file: BinaryIO, columns: list[str], keys: "array[int]", starts: "array[int]", lengths: "array[int]"
    ) -> None:
        file.seek(0)
        for span, content in scan_records(file, self._format):
            written = read_record(content, self._format, columns)
            if written is None:
                continue
            keys.append(_hash(written.input))
            starts.append(span.start)
            lengths.append(span.length)


def skip_done(sources: Iterable[Source], earlier: EarlierRecords) -> Iterator[Source | KeptRecord]:
    """Put the earlier record in the place of every input that has one which still holds; leave out old unknown ones."""
    for source in sources:
        found = earlier.find(source)
        if found.kept or found.is_known or not source.is_old:
            yield found.kept or source


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8"), digest_size=8).digest(), "little")
