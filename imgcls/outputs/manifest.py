"""The note beside an output: what made it, when, from what, and how its answers differ from the last run's."""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from imgcls.errors import OutputError
from imgcls.host.files import write_text
from imgcls.host.urls import without_secrets
from imgcls.outputs.origin import Origin
from imgcls.outputs.record import Summary

SCHEMA = 1
# A run is compared with the last one by these parts of its note.
COMPARED = ("started", "finished", "counts", "mean_confidence", "model")


def note_path(output: Path) -> Path:
    """`results.run.json` for `results.jsonl`."""
    return output.with_name(f"{output.stem}.run.json")


def read_note(output: Path) -> dict[str, Any]:
    """The note of the run that wrote an output, finished or not; empty where there is none.

    Outputs whose names differ in the suffix alone share a note: one about the other says nothing.
    """
    try:
        note = json.loads(note_path(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) and note.get("output") == output.name else {}


def describe_holder(output: Path) -> str:
    """Who holds an output, as a clause for a message; empty where its note doesn't say."""
    note = read_note(output)
    if note.get("status") != "running":
        return ""
    return f" (process {note.get('pid')} on {note.get('host')}, since {note.get('started')})"


@dataclass
class Manifest:
    """The note of one run; written when it starts and again when it ends, each time whole.

    Attributes:
        output: beside which it is written.
        origin: of the answers.
        last: what the last finished run's note said, for comparison.
        started: UTC.
    """

    output: Path
    origin: Origin
    last: dict[str, Any] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    @contextlib.contextmanager
    def kept(self, summary: Summary) -> Iterator[None]:
        """Write the note now, and again when the block ends, well or not.

        Args:
            summary: of the records, counted while the block runs.
        Raises:
            OutputError: it can't be written.
        """
        self.write("running")
        try:
            yield
        except Exception:
            with contextlib.suppress(OutputError):
                self.write("failed", summary)
            raise
        except BaseException:
            with contextlib.suppress(OutputError):
                self.write("interrupted", summary)
            raise
        self.write(summary.ended, summary)

    def write(self, status: str, summary: Summary | None = None) -> None:
        """Write the note.

        Args:
            status: `running`, `finished`, `interrupted` or `failed`.
            summary: of the records so far.
        Raises:
            OutputError: it can't be written.
        """
        note: dict[str, Any] = {
            "schema": SCHEMA,
            "status": status,
            "output": self.output.name,
            "command": [Path(sys.argv[0]).name, *map(without_secrets, sys.argv[1:])],
            "folder": _working_folder(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _utc(self.started),
            "finished": None if status == "running" else _utc(datetime.now(UTC)),
            "model": self.origin.model,
            "settings": self.origin.digest,
            "options": self.origin.options,
            "device": self.origin.device,
            "versions": self.origin.versions,
        }
        if summary is not None:
            note["counts"] = summary.to_dict() | {"kept": summary.num_kept}
            note["mean_confidence"] = _rounded(summary.mean_confidence)
            note["classes"] = class_shares(summary, self.last.get("classes", {}))
        if self.last:
            note["last"] = self.last
        write_text(note_path(self.output), json.dumps(note, ensure_ascii=True, indent=2) + "\n")


def last_finished(note: dict[str, Any]) -> dict[str, Any]:
    """What a new run compares itself with: the last note's figures, or, if that run never ended, those it had.

    Args:
        note: as `read_note` gives it.
    """
    counts = note.get("counts")
    # A run without any input, which left the output as it was, says nothing either.
    if note.get("status") != "finished" or (isinstance(counts, dict) and counts.get("count") == 0):
        last = note.get("last", {})
        return last if isinstance(last, dict) else {}
    classes = note.get("classes", {})
    figures = {label: {"count": row["count"], "share": row["share"]} for label, row in classes.items()}
    return {key: note[key] for key in COMPARED if key in note} | {"classes": figures}


def class_shares(summary: Summary, last: dict[str, Any]) -> dict[str, Any]:
    """Count and share of every class answered in this run or in the last one, side by side, most frequent first.

    Args:
        summary: of this run.
        last: the same table of the last run.
    """
    labels = [label for label, _count in summary.labels.most_common()]
    labels += [label for label in last if label not in summary.labels]
    return {
        label: {
            "count": summary.labels[label],
            "share": _rounded(summary.labels[label] / max(summary.num_ok, 1)),
            "last_count": last.get(label, {}).get("count", 0) if last else None,
            "last_share": last.get(label, {}).get("share", 0.0) if last else None,
        }
        for label in labels
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _working_folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        # Somebody has deleted it.
        return ""


def _utc(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
