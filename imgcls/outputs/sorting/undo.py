"""What a run that sorts has done, step by step, and taking it back."""

import contextlib
import json
import os
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from imgcls.errors import OutputError
from imgcls.outputs.sorting.placing import copy_to, move_to, numbered_names

UNDO_NAME = "undo-%Y%m%d-%H%M%S"


class UndoFile:
    """A line for each step, written before it is done.

    A line for what didn't happen is harmless, one that is missing isn't.

    Args:
        root: the folder that is sorted into; made if missing.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.path = _new_file(root)
        self._file = self.path.open("a", encoding="utf-8", newline="\n")

    def note(self, did: str, source: Path, target: Path) -> None:
        """What is about to be done to a file.

        Args:
            did: `copied`, `moved` or `linked`; `merged` where a copy stands at the target already.
            source: as it is now.
            target: where it goes.
        """
        stat = source.stat()
        line = {
            "did": did,
            "from": str(source.absolute()),
            "to": str(target.absolute()),
            "size_bytes": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
        }
        self._file.write(json.dumps(line, ensure_ascii=True) + "\n")
        self._file.flush()

    def close(self) -> None:
        """What was noted is on the disk already."""
        self._file.close()


def undo(path: Path) -> Counter[str]:
    """Take back what a run did, the last first; what was changed since stays as it is.

    Args:
        path: the undo file; it stays too.
    Returns:
        How many files were `undone`, were `gone` already, and stay because they were `changed`.
    Raises:
        OutputError: the file can't be read, or a step can't be done.
    """
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        steps = [(line["did"], Path(line["from"]), Path(line["to"]), line) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is no undo file"
        raise OutputError(
            f"can't read {path}: {reason}", hint="--sort-into writes undo-*.jsonl into its folder"
        ) from exc
    counts: Counter[str] = Counter()
    for did, source, target, line in reversed(steps):
        try:
            counts[_undo_one(did, source, target, line)] += 1
        except OSError as exc:
            raise OutputError(f"can't undo {target}: {exc.strerror or exc}", hint="mend that, and undo again") from exc
        with contextlib.suppress(OSError):
            # Only where nothing is left in it.
            target.parent.rmdir()
    return counts


def _undo_one(did: str, source: Path, target: Path, line: dict[str, Any]) -> str:
    if not os.path.lexists(target):
        return "gone"
    if did == "linked":
        if not target.is_symlink() or target.readlink() != source:
            return "changed"
        target.unlink()
        return "undone"
    stat = target.stat()
    if (stat.st_size, stat.st_mtime_ns) != (line["size_bytes"], line["modified_ns"]) and did != "merged":
        return "changed"
    if did == "copied":
        target.unlink()
        return "undone"
    if os.path.lexists(source):
        # The move never happened, or something else has taken its place.
        return "changed"
    source.parent.mkdir(parents=True, exist_ok=True)
    (copy_to if did == "merged" else move_to)(target, source)
    return "undone"


def _new_file(root: Path) -> Path:
    stem = datetime.now().astimezone().strftime(UNDO_NAME)
    for path in numbered_names(root / f"{stem}.jsonl"):
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError("names never end")
