"""What classifying one input gives: the record of the contract, as an object and as plain values."""

import base64
import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from imgcls.errors import ImageError, ImageErrorKind

if TYPE_CHECKING:
    from imgcls.images.inputs.source import Source
    from imgcls.images.transform import Pixels

# What only some records say, in every format: a key of JSON where it is known, a column of CSV and Parquet always. A
# new one is a field of `ImageRecord` and an entry here.
OPTIONAL_KEYS: dict[str, type] = {
    "uncertain": bool,
    "frame": int,
    "frames": int,
    "truncated": bool,
    "multi_label": bool,
    "labels": tuple,
    "restricted_to": int,
    "set": tuple,
    "accepted": bool,
}
# Servers and decoders may say as much as they like.
MAX_REASON_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class and how probable it is.

    Attributes:
        class_id: index of the network's output.
        label: the class's name.
        probability: softmax output, or of multi-label models the sigmoid's, in [0, 1].
    """

    class_id: int
    label: str
    probability: float


class RecordError(NamedTuple):
    """Why an input has no predictions."""

    kind: ImageErrorKind
    message: str


class FileVersion(NamedTuple):
    """What tells one version of a file from the next.

    Attributes:
        size_bytes: of the file.
        modified_ns: its modification time, nanoseconds since 1970.
    """

    size_bytes: int
    modified_ns: int


def file_version(path: Path | None) -> FileVersion | None:
    """Size and modification time, or None where there is no such file."""
    if path is None:
        return None
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return FileVersion(status.st_size, status.st_mtime_ns)


def source_version(source: "Source") -> FileVersion | None:
    """Which version of its file an input is; None where there is no such file, or nothing tells."""
    return file_version(source.path) if source.version is None else FileVersion(*source.version)


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The answer for one input.

    Attributes:
        input: the input's name.
        model: name and first digits of the weights' SHA-256.
        predictions: most probable first; empty when the input failed. With `labels`, all of these are among them, also
            where that is more than were asked for.
        width, height: of the upright image, in pixels; None when the input failed.
        error: why it failed, or None.
        uncertain: whether the most probable class stays under the threshold; None when none was asked for.
        frame, frames: which frame or page was classified, counted from 0, of how many; None where there is only one.
        truncated: True where the file lacks its end, and was accepted all the same.
        multi_label: True where each class has a probability of its own, and they don't add up to 1.
        labels: of a model that knows thresholds for them, all classes that reach theirs, the most probable first; None
            for one label per image.
        restricted_to: how many classes could be answered, where that was not all of them; None else.
        set: labels of which one is the true one as often as the model was calibrated for; None without that.
        accepted: whether the answer needs no person, as `--accept-if` says; None where that wasn't asked.
        version: which version of the file was classified; None for URLs and stdin.
        thumbnail: a small JPEG for reports, if asked for; never part of the written record.
        crop: what the network saw, uint8, shape (H, W, 3), if asked for; likewise.
    """

    input: str
    model: str
    predictions: tuple[Prediction, ...] = ()
    width: int | None = None
    height: int | None = None
    error: RecordError | None = None
    uncertain: bool | None = None
    frame: int | None = None
    frames: int | None = None
    truncated: bool | None = None
    multi_label: bool | None = None
    labels: tuple[str, ...] | None = None
    restricted_to: int | None = None
    set: tuple[str, ...] | None = None
    accepted: bool | None = None
    version: FileVersion | None = None
    thumbnail: bytes | None = field(default=None, repr=False, compare=False)
    crop: "Pixels | None" = field(default=None, repr=False, compare=False)

    @property
    def status(self) -> Literal["ok", "error"]:
        """`ok`, or `error` with a reason in `error`."""
        return "error" if self.error else "ok"

    @property
    def label(self) -> str:
        """The most probable class; empty when the input failed."""
        return self.predictions[0].label if self.predictions else ""

    @property
    def probability(self) -> float:
        """Of the most probable class; 0 when the input failed."""
        return self.predictions[0].probability if self.predictions else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The record as it is written in JSON; probabilities keep the digits that float32 has."""
        record: dict[str, Any] = {"input": self.input, "status": self.status}
        if self.error:
            record |= {"model": self.model, "error": {"kind": self.error.kind, "message": self.error.message}}
        else:
            predictions = [
                {"class_id": p.class_id, "label": p.label, "probability": float(f"{p.probability:.7g}")}
                for p in self.predictions
            ]
            record |= {"width": self.width, "height": self.height, "model": self.model, "predictions": predictions}
        for name, kind in OPTIONAL_KEYS.items():
            if (value := getattr(self, name)) is not None:
                record[name] = list(value) if kind is tuple else value
        return record

    def __str__(self) -> str:
        """One line for people."""
        if self.error:
            return f"{self.input}: {self.error.kind}: {self.error.message}"
        return f"{self.input}: " + ", ".join(f"{p.label} {p.probability:.2%}" for p in self.predictions)

    def _repr_html_(self) -> str:
        """How a notebook shows it: the image, and a bar for each class."""
        head = f"<b>{html.escape(self.input)}</b> <small>{html.escape(self.model)}</small>"
        if self.error:
            return f"<div>{head}<br>{html.escape(f'{self.error.kind}: {self.error.message}')}</div>"
        rows = "".join(
            f"<tr><td style='text-align:left'>{html.escape(p.label)}</td>"
            f"<td style='text-align:right'>{p.probability:.2%}</td>"
            f"<td style='width:12em'><div style='background:#4c78a8;height:.8em;width:{p.probability:.2%}'></div></td>"
            "</tr>"
            for p in self.predictions
        )
        thumbnail = self.thumbnail or self._thumbnail_of_file()
        image = ""
        if thumbnail:
            data = base64.b64encode(thumbnail).decode("ascii")
            image = f"<img alt='' src='data:image/jpeg;base64,{data}' style='margin-right:1em'>"
        return (
            f"<div>{head}<div style='display:flex;align-items:center'>{image}<table style='margin:0'>{rows}</table>"
            "</div></div>"
        )

    def _thumbnail_of_file(self) -> bytes | None:
        """Made when it is shown, as long as the file is the one that was classified."""
        from imgcls.images.cropping import thumbnail_of
        from imgcls.images.decoding import DEFAULT_MAX_PIXELS
        from imgcls.images.inputs.names import path_of
        from imgcls.images.thumbnails import THUMBNAIL_PX

        path = path_of(self.input)
        if self.version is None or file_version(path) != self.version:
            return None
        made = thumbnail_of(path, max_pixels=DEFAULT_MAX_PIXELS, side_px=THUMBNAIL_PX, frame=self.frame or 0)
        return made and made.thumbnail


def failed_record(
    name: str, model: str, error: ImageError | RecordError, version: FileVersion | None = None
) -> ImageRecord:
    """The record of an input that could not be classified."""
    # One line, and valid Unicode, whatever a decoder or a file name put into the reason.
    message = " ".join(error.message.encode("utf-8", "backslashreplace").decode("utf-8").split())
    if len(message) > MAX_REASON_CHARACTERS:
        message = message[: MAX_REASON_CHARACTERS - 1] + "…"
    return ImageRecord(name, model, error=RecordError(error.kind, message), version=version)


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A record of an earlier run that still holds, so that its input isn't classified again.

    Attributes:
        input: the input's name, as it was given this time.
        start, length: where its bytes stand in the earlier output.
        in_part: whether that is the journal of a run that was cut, rather than a finished output.
        is_current: whether these bytes can be copied; else they are written anew, in this run's columns and names.
        values: what they say, as `ImageRecord.to_dict` does.
    """

    input: str
    start: int
    length: int
    in_part: bool
    is_current: bool
    values: dict[str, Any]

    @property
    def label(self) -> str:
        """The most probable class."""
        return str(self.values["predictions"][0]["label"])

    @property
    def probability(self) -> float:
        """Of the most probable class."""
        return float(self.values["predictions"][0]["probability"])
