"""What earlier runs have done: which inputs need no second look."""

import codecs
import contextlib
import hashlib
import io
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from imgcls.errors import OutputError
from imgcls.images.frames import MOST_FRAMES
from imgcls.images.inputs.source import Source
from imgcls.outputs.formats.format import Layout, OutputFormat, Reader, Span
from imgcls.outputs.formats.values import version_of
from imgcls.outputs.journal import part_path
from imgcls.outputs.record import KeptRecord, source_version


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
        format_: of both; one that can be read back.
        layout: of this run's records; those with other settings are not kept.
    Raises:
        OutputError: a file is there but can't be read, or the output is somebody else's file.
    """

    def __init__(self, path: Path, format_: OutputFormat, layout: Layout) -> None:
        assert format_.reader is not None
        self._settings = layout.settings
        self._head = format_.encoder(layout).head()
        self._files: list[BinaryIO] = []
        self._readers: list[Reader] = []
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
                    _refuse_utf16(source, file.read(4))
                    reader = format_.reader(file, layout)
                    self._readers.append(reader)
                    _index(reader, keys, starts, lengths)
                    is_empty = file.seek(0, io.SEEK_END) == 0
                except OSError as exc:
                    raise OutputError(f"can't read {source}: {exc.strerror or exc}", hint=hint) from exc
                counts.append(len(keys) - before)
                is_ours = counts[-1] or is_empty or reader.head
                # Beside a part, somebody has already said that it may be overwritten.
                if source == path and not is_ours and not part_path(path).exists():
                    message = f"{path} holds no records in {format_.name} that --resume could keep"
                    raise OutputError(message, hint=hint)
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

    def find(self, source: Source, *, frame: int = 0) -> Found:
        """Look an input up; its record holds if file, model and question are the same as then.

        Args:
            source: the input.
            frame: which of its frames or pages.
        """
        found = self._find(source, source.name, frame)
        # Version 0.1 wrote `a.jpg` for `./a.jpg`, and `shots/a.jpg` for `shots//a.jpg`.
        if found.kept is None and (former := source.plain_name) != source.name:
            earlier = self._find(source, former, frame)
            found = Found(found.is_known or earlier.is_known, earlier.kept)
        self.num_met += found.is_known and frame == 0
        return found

    def _find(self, source: Source, name: str, frame: int) -> Found:
        version = source_version(source)
        is_known = False
        # As a plain int it would turn the whole array into floats, at each look-up.
        key = np.uint64(hash_name(_framed(name, frame)))
        # From the newest record of that key to the oldest.
        index = newest = int(np.searchsorted(self._keys, key, side="right")) - 1
        while index >= 0 and self._keys[index] == key:
            in_part = bool(self._in_part[index])
            span = Span(int(self._starts[index]), int(self._lengths[index]))
            reader = self._readers[in_part]
            values = reader.read(span)
            if values is not None and values["input"] == name and _frame_of(values) == frame:
                is_known = True
                self._is_met[newest] = True
                is_same = version is not None and version == version_of(values)
                if is_same and values["status"] == "ok" and values.get("settings") == self._settings:
                    is_current = name == source.name and reader.is_current(span, self._head)
                    return Found(True, KeptRecord(source.name, *span, in_part, is_current, values))
            index -= 1
        return Found(is_known, None)

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()


def skip_done(
    sources: Iterable[Source], earlier: EarlierRecords, *, all_frames: bool = False
) -> Iterator[Source | KeptRecord]:
    """Put the earlier record in the place of every input that has one which still holds; leave out old unknown ones.

    Args:
        sources: the inputs.
        earlier: what earlier runs have done.
        all_frames: whether each frame of a file has a record; then it is continued behind those that are kept.
    """
    for source in sources:
        found = earlier.find(source)
        if found.kept and all_frames:
            yield from _kept_frames(source, found.kept, earlier)
        elif found.kept or found.is_known or not source.is_old:
            yield found.kept or source


def _kept_frames(source: Source, first: KeptRecord, earlier: EarlierRecords) -> Iterator[Source | KeptRecord]:
    yield first
    frame, num_frames = 1, min(first.values.get("frames") or 1, MOST_FRAMES)
    while frame < num_frames and (kept := earlier.find(source, frame=frame).kept):
        yield kept
        frame += 1
    if frame < num_frames:
        yield replace(source, first_frame=frame)


def _frame_of(values: dict[str, Any]) -> int:
    frame = values.get("frame")
    return frame if type(frame) is int else 0


def _framed(name: str, frame: int) -> str:
    """What stands for one frame of an input; for the first that is the input's name."""
    return f"{name}\0{frame}" if frame else name


def hash_name(name: str) -> int:
    """64 bits that stand for an input's name; what they find is compared in full."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _index(reader: Reader, keys: "array[int]", starts: "array[int]", lengths: "array[int]") -> None:
    for span, values in reader.scan():
        if values is not None:
            keys.append(hash_name(_framed(values["input"], _frame_of(values))))
            starts.append(span.start)
            lengths.append(span.length)


def _refuse_utf16(path: Path, start: bytes) -> None:
    # As some editors and PowerShell's `>` write; appending UTF-8 to it would spoil it.
    has_mark = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if has_mark or [byte == 0 for byte in start] in ([False, True] * 2, [True, False] * 2):
        raise OutputError(
            f"{path} is in UTF-16, which --resume can't continue", hint="save it as UTF-8, or --overwrite"
        )
