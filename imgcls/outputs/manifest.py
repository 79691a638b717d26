"""The manifest beside an output: what made it, when, from what, and how its answers differ from the last run's."""

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
from imgcls.host.http.urls import without_secrets
from imgcls.outputs.origin import Origin
from imgcls.outputs.summary import Summary

SCHEMA = 1
# A thousand classes, each with a long name, take a fifth of this.
MAX_BYTES = 1 << 24
# A run is compared with the last one by these parts of its manifest.
COMPARED = ("started", "finished", "counts", "mean_confidence", "model")


def manifest_path(output: Path) -> Path:
    """`results.jsonl.run.json` for `results.jsonl`."""
    return output.with_name(f"{output.name}.run.json")


def former_manifest_path(output: Path) -> Path:
    """Where version 0.1 kept it: `results.run.json`, be it for `results.jsonl` or `results.csv`. Read, not written."""
    return output.with_name(f"{output.stem}.run.json")


def read_manifest(output: Path) -> dict[str, Any]:
    """The manifest of the run that wrote an output, finished or not; empty where there is none."""
    for path in (manifest_path(output), former_manifest_path(output)):
        if (manifest := _read(path)) and _is_of(output, manifest):
            return manifest
    return {}


def refuse_foreign_manifest(output: Path) -> None:
    """Refuse to write a manifest where somebody else's file or a link is; a file of ours is replaced.

    Raises:
        OutputError: it isn't ours.
    """
    path = manifest_path(output)
    if path.is_symlink() or (path.exists() and not _is_of(output, _read(path))):
        what = "is a link" if path.is_symlink() else f"is no manifest of {output.name}"
        raise OutputError(
            f"{path} {what}, and would be replaced", hint="move it away, or name another output with --output"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _is_of(output: Path, manifest: dict[str, Any]) -> bool:
    return manifest.get("output") == output.name and "status" in manifest


def describe_holder(output: Path) -> str:
    """Who holds an output, as a clause for a message; empty where its manifest doesn't say."""
    manifest = read_manifest(output)
    if manifest.get("status") != "running":
        return ""
    return f" (process {manifest.get('pid')} on {manifest.get('host')}, since {manifest.get('started')})"


@dataclass
class Manifest:
    """The manifest of one run; written when it starts and again when it ends, each time whole.

    Attributes:
        output: beside which it is written.
        origin: of the answers.
        last: what the last finished run's manifest said, for comparison.
        started: UTC.
    """

    output: Path
    origin: Origin
    last: dict[str, Any] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))

    @contextlib.contextmanager
    def kept(self, summary: Summary) -> Iterator[None]:
        """Write it now, and again when the block ends, well or not.

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
        """Write it.

        Args:
            status: `running`, `finished`, `interrupted` or `failed`.
            summary: of the records so far.
        Raises:
            OutputError: it can't be written.
        """
        manifest: dict[str, Any] = {
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
            "runtime": self.origin.runtime,
            "versions": self.origin.versions,
        }
        if summary is not None:
            manifest["counts"] = summary.to_dict() | {"kept": summary.num_kept}
            manifest["mean_confidence"] = _rounded(summary.mean_confidence)
            manifest["classes"] = class_shares(summary, self.last.get("classes", {}))
        if self.last:
            manifest["last"] = self.last
        refuse_foreign_manifest(self.output)
        write_text(manifest_path(self.output), json.dumps(manifest, ensure_ascii=True, indent=2) + "\n")


def last_finished(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a new run compares itself with: the last run's figures, or, if that never ended, those it compared with.

    Args:
        manifest: as `read_manifest` gives it.
    """
    counts = manifest.get("counts")
    # A run without any input, which left the output as it was, says nothing either.
    if manifest.get("status") != "finished" or (isinstance(counts, dict) and counts.get("count") == 0):
        manifest = manifest.get("last") or {}
    try:
        rows = manifest.get("classes", {}).items()
        figures = {str(label): {"count": int(row["count"]), "share": float(row["share"])} for label, row in rows}
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        # Somebody has written to it.
        return {}
    return {key: manifest[key] for key in COMPARED if key in manifest} | ({"classes": figures} if manifest else {})


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
