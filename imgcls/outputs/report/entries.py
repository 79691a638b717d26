"""What a report keeps of one record: a short JSON list, a thumbnail, and a link to the image."""

import contextlib
import csv
import io
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from imgcls.errors import ImageError
from imgcls.images.data_uris import is_data_uri
from imgcls.images.decoding import DEFAULT_MAX_PIXELS, decode_image
from imgcls.images.sources import STDIN, is_url, path_of
from imgcls.outputs.journal import part_path
from imgcls.outputs.record import ImageRecord, KeptRecord, Prediction
from imgcls.outputs.report.thumbnails import THUMBNAIL_PX, make_thumbnail


@dataclass(frozen=True, slots=True)
class Entry:
    """One input in a report.

    Attributes:
        values: `[input, link, width, height, uncertain, [class, probability, class, ...]]`, or, where it failed,
            `[input, link, kind, message]`; classes by their index.
        thumbnail: a small JPEG; empty without one.
    """

    values: list[Any]
    thumbnail: bytes


class EarlierAnswers:
    """Reads the records back that a resumed run keeps, and makes their thumbnails anew.

    Args:
        output: the output that is being resumed; its part lies beside it.
        is_csv: its format; else JSON Lines.
        classes: labels in the order of the network's outputs.
        max_pixels: larger images get no thumbnail.
    """

    def __init__(
        self, output: Path, *, is_csv: bool, classes: tuple[str, ...], max_pixels: int = DEFAULT_MAX_PIXELS
    ) -> None:
        self._output = output
        self._is_csv = is_csv
        self._max_pixels = max_pixels
        self._indices = {label: index for index, label in reversed(list(enumerate(classes)))}
        self._files: dict[bool, tuple[BinaryIO, list[str]]] = {}

    def read(self, kept: KeptRecord) -> ImageRecord:
        """The whole record again, without its thumbnail. Not for several threads at once.

        Raises:
            OSError: the earlier output can't be read.
        """
        file, columns = self._open(kept.in_part)
        file.seek(kept.start)
        text = file.read(kept.length).decode("utf-8")
        if not self._is_csv:
            values = json.loads(text)
            return ImageRecord(
                kept.input,
                values["model"],
                tuple(Prediction(p["class_id"], p["label"], p["probability"]) for p in values["predictions"]),
                values["width"],
                values["height"],
                uncertain=values.get("uncertain"),
            )
        row = dict(zip(columns, next(csv.reader(io.StringIO(text, newline=""))), strict=True))
        ranks = [rank for rank in range(1, len(columns)) if row.get(f"label_{rank}")]
        return ImageRecord(
            kept.input,
            model="",
            predictions=tuple(
                Prediction(self._indices[label], label, float(row[f"probability_{rank}"]))
                for rank in ranks
                if (label := row[f"label_{rank}"]) in self._indices
            ),
            uncertain={"true": True, "false": False}.get(row.get("uncertain", "")),
        )

    def with_thumbnail(self, record: ImageRecord) -> ImageRecord:
        """Decode a record's image once more, as small as its format allows; none where it has gone since."""
        with contextlib.suppress(ImageError):
            decoded = decode_image(path_of(record.input), max_pixels=self._max_pixels, smallest_px=THUMBNAIL_PX)
            thumbnail = make_thumbnail(decoded.image)
            return replace(record, thumbnail=thumbnail, width=decoded.width, height=decoded.height)
        return record

    def close(self) -> None:
        """Close the earlier output."""
        for file, _columns in self._files.values():
            file.close()

    def _open(self, in_part: bool) -> tuple[BinaryIO, list[str]]:
        if in_part not in self._files:
            file = (part_path(self._output) if in_part else self._output).open("rb")
            columns = next(csv.reader([file.readline().decode("utf-8")])) if self._is_csv else []
            self._files[in_part] = (file, columns)
        return self._files[in_part]


def entry_of(record: ImageRecord, folder: Path) -> Entry:
    """Boil a record down.

    Args:
        record: with its thumbnail, if there is one.
        folder: of the report, where relative links start.
    """
    link = link_to(record, folder)
    if record.error:
        return Entry([record.input, link, record.error.kind, record.error.message], b"")
    # Five digits are more than a page shows, and half of what a float would take.
    answers = [value for p in record.predictions for value in (p.class_id, round(p.probability, 5))]
    values = [record.input, link, record.width, record.height, int(bool(record.uncertain)), answers]
    return Entry(values, record.thumbnail or b"")


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
