"""What a check of a data set finds, as an object and as plain values."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

Kind = Literal[
    "unreadable",
    "odd",
    "duplicate",
    "near_duplicate",
    "conflict",
    "leakage",
    "label",
    "imbalance",
    "class_name",
    "orientation",
    "shortcut",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at.

    Attributes:
        kind: the word that scripts match on.
        input: the image, or the class or data set where it is none.
        reason: in words.
        score: how sure or how bad, in [0, 1]; the meaning for each kind is in the docs.
        other: the image (or class) that it goes with, where there is one.
        label: the class that the image has.
        suggested_label: the class that it may have instead.
        split: of the image.
        other_split: of the other.
        is_exact: of copies, whether every pixel is the same.
    """

    kind: Kind
    input: str
    reason: str
    score: float
    other: str | None = None
    label: str | None = None
    suggested_label: str | None = None
    split: str | None = None
    other_split: str | None = None
    is_exact: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        values: dict[str, Any] = {
            "kind": self.kind,
            "input": self.input,
            "other": self.other,
            "score": round(self.score, 4),
            "label": self.label,
            "suggested_label": self.suggested_label,
            "split": self.split,
            "other_split": self.other_split,
            "reason": self.reason,
        }
        return values | ({} if self.is_exact is None else {"exact": self.is_exact})
