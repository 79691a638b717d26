"""What a report keeps of one record: a short JSON list, a thumbnail, and a link to the image."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from imgcls.images.cropping import thumbnail_of
from imgcls.images.inputs.data_uris import is_data_uri
from imgcls.images.inputs.names import is_url, path_of
from imgcls.images.inputs.stdin import STDIN
from imgcls.images.thumbnails import THUMBNAIL_PX
from imgcls.outputs.record import ImageRecord


@dataclass(frozen=True, slots=True)
class Entry:
    """One input in a report.

    Attributes:
        values: `[input, link, width, height, uncertain, [class, probability, class, ...]]`, or, where it failed,
            `[input, link, kind, message]`; classes by their index. Then, where there is one, a remark.
        thumbnail: a small JPEG; empty without one.
    """

    values: list[Any]
    thumbnail: bytes


def with_thumbnail(record: ImageRecord, *, max_pixels: int) -> ImageRecord:
    """A record that was kept, with a thumbnail that is made anew; without one where its image has gone since.

    Args:
        record: of an image that was classified.
        max_pixels: larger images get none.
    """
    made = thumbnail_of(path_of(record.input), max_pixels=max_pixels, side_px=THUMBNAIL_PX, frame=record.frame or 0)
    if made is None:
        return record
    return replace(record, thumbnail=made.thumbnail, width=made.width, height=made.height)


def entry_of(record: ImageRecord, folder: Path) -> Entry:
    """Boil a record down.

    Args:
        record: with its thumbnail, if there is one.
        folder: of the report, where relative links start.
    """
    link = link_to(record, folder)
    remark = [text] if (text := _remark(record)) else []
    if record.error:
        return Entry([record.input, link, record.error.kind, record.error.message, *remark], b"")
    # Five digits are more than a page shows, and half of what a float would take.
    answers = [value for p in record.predictions for value in (p.class_id, round(p.probability, 5))]
    values = [record.input, link, record.width, record.height, int(bool(record.uncertain)), answers, *remark]
    return Entry(values, record.thumbnail or b"")


def _remark(record: ImageRecord) -> str:
    words = []
    if record.frame is not None and record.frames is not None:
        words.append(f"frame {record.frame + 1:,} of {record.frames:,}")
    if record.truncated:
        words.append("its last bytes are missing")
    return ", ".join(words)


def link_to(record: ImageRecord, folder: Path) -> str:
    """Where an image is, seen from a folder: relative where a path leads there, empty where there is nothing to open.

    Percent-encoded down to letters, digits and `/`, so that no name can turn into another kind of link.
    """
    name = record.input
    if is_url(name):
        return name
    if (name == STDIN or is_data_uri(name)) and record.version is None:
        return ""
    path = path_of(name)
    try:
        relative = os.path.relpath(path, folder)
    except ValueError:
        # Another drive, or a name with a NUL byte.
        return "" if "\0" in name else path.absolute().as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))
