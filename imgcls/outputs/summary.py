"""Counts over the records of a run."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from imgcls.outputs.record import ImageRecord, KeptRecord

# A run ends when its inputs do, at a signal, or when too many inputs failed.
Ended = Literal["finished", "interrupted", "failed"]


@dataclass
class Summary:
    """Counts over the records of a run.

    Attributes:
        num_ok, num_failed: records of each status.
        num_kept: of the good ones, how many an earlier run had made.
        kinds: failures by kind.
        labels: good records by most probable class.
        confidence_sum: of their probabilities.
        ended: whether these are all records, or the run was cut short.
    """

    num_ok: int = 0
    num_failed: int = 0
    num_kept: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    confidence_sum: float = 0.0
    ended: Ended = "finished"

    @property
    def count(self) -> int:
        """All records."""
        return self.num_ok + self.num_failed

    @property
    def mean_confidence(self) -> float | None:
        """Mean probability of the most probable class; None without a good record."""
        return self.confidence_sum / self.num_ok if self.num_ok else None

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Count one record."""
        if isinstance(record, ImageRecord) and record.error:
            self.num_failed += 1
            self.kinds[record.error.kind] += 1
            return
        self.num_ok += 1
        self.num_kept += isinstance(record, KeptRecord)
        self.labels[record.label] += 1
        self.confidence_sum += record.probability

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        counts: dict[str, Any] = {"count": self.count, "ok": self.num_ok, "failed": self.num_failed}
        counts["errors"] = dict(self.kinds)
        # Where a part of the answers could be taken for all of them, it says so.
        return counts if self.ended == "finished" else counts | {"ended": self.ended}

    def __str__(self) -> str:
        """One line for people: `12,480 images: 12,471 ok, 9 failed (7 corrupt_image, 2 not_found)`."""
        line = f"{self.count:,} {'image' if self.count == 1 else 'images'}: {self.num_ok:,} ok"
        if self.num_kept:
            line += f" ({self.num_kept:,} kept from before)"
        if self.num_failed:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.kinds.most_common())
            line += f", {self.num_failed:,} failed ({kinds})"
        return line
