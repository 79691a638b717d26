"""What classifying one input gives: the record of the contract, as an object and as plain values."""

import html
from dataclasses import dataclass, field
from typing import Any, Literal

from imgcls.errors import ImageError, ImageErrorKind


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class and how probable it is.

    Attributes:
        class_id: index of the network's output.
        label: the class's name.
        probability: softmax output, in [0, 1].
    """

    class_id: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class RecordError:
    """Why an input has no predictions."""

    kind: ImageErrorKind
    message: str


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """The answer for one input.

    Attributes:
        input: the input's name.
        model: name and first digits of the weights' SHA-256.
        predictions: most probable first; empty when the input failed.
        width, height: of the upright picture, in pixels; None when the input failed.
        error: why it failed, or None.
    """

    input: str
    model: str
    predictions: tuple[Prediction, ...] = ()
    width: int | None = None
    height: int | None = None
    error: RecordError | None = None

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
        if self.error:
            error = {"kind": self.error.kind, "message": self.error.message}
            return {"input": self.input, "status": "error", "model": self.model, "error": error}
        return {
            "input": self.input,
            "status": "ok",
            "width": self.width,
            "height": self.height,
            "model": self.model,
            "predictions": [
                {"class_id": p.class_id, "label": p.label, "probability": float(f"{p.probability:.7g}")}
                for p in self.predictions
            ],
        }

    def __str__(self) -> str:
        """One line for people."""
        if self.error:
            return f"{self.input}: {self.error.kind}: {self.error.message}"
        return f"{self.input}: " + ", ".join(f"{p.label} {p.probability:.2%}" for p in self.predictions)

    def _repr_html_(self) -> str:
        """How a notebook shows it: a bar a class."""
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
        return f"<div>{head}<table>{rows}</table></div>"


def failed_record(name: str, model: str, error: ImageError) -> ImageRecord:
    """The record of an input that could not be classified."""
    return ImageRecord(name, model, error=RecordError(error.kind, error.message))


@dataclass
class Summary:
    """Counts over the records of a run.

    Attributes:
        num_ok, num_failed: records of each status.
        kinds: failures by kind.
    """

    num_ok: int = 0
    num_failed: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """All records."""
        return self.num_ok + self.num_failed

    def add(self, record: ImageRecord) -> None:
        """Count one record."""
        if record.error:
            self.num_failed += 1
            self.kinds[record.error.kind] = self.kinds.get(record.error.kind, 0) + 1
        else:
            self.num_ok += 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"count": self.count, "ok": self.num_ok, "failed": self.num_failed, "errors": dict(self.kinds)}
