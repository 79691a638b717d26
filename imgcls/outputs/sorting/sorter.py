"""Images into folders by their class: copied, moved or linked, never over another file, with a file to undo it.

What stands at the target already is compared byte for byte: the same content counts as done, so that a run that was cut
can be started again, and other content gets a number behind the name.
"""

import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from imgcls.errors import OutputError
from imgcls.images.inputs.names import path_of
from imgcls.outputs.record import ImageRecord, KeptRecord
from imgcls.outputs.sorting.placing import copy_to, is_one_file, is_same, move_to, numbered_names
from imgcls.outputs.sorting.undo import UndoFile

How = Literal["copy", "move", "link"]
DONE: dict[str, str] = {"copy": "copied", "move": "moved", "link": "linked"}
# What no file system takes in a name, or some give a meaning.
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of one image.

    Attributes:
        did: `copied`, `moved`, `linked`; `there` where the target has it already; `left` where it stays as it is.
        source: the image's file; None for URLs, stdin and members of archives, which are left.
        target: where it went.
    """

    did: str
    source: Path | None = None
    target: Path | None = None


@dataclass
class Sorter:
    """Puts the files of records into folders; a context manager, as it writes the undo file meanwhile.

    Attributes:
        root: the folder of the class folders.
        how: `copy`, `move` or `link` (symbolic).
        unsure_into: the folder in root for answers that are uncertain or not accepted; None leaves them.
        dry_run: say what would be done, and do nothing.
        counts: of what was done, by `Placed.did`.
    """

    root: Path
    how: How = "copy"
    unsure_into: str | None = None
    dry_run: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    _undo: UndoFile | None = None
    _planned: dict[Path, Path] = field(default_factory=dict)

    def __enter__(self) -> "Sorter":
        """Nothing is made before the first image."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close the undo file."""
        if self._undo is not None:
            self._undo.close()

    @property
    def undo_path(self) -> Path | None:
        """The undo file, once something was done."""
        return None if self._undo is None else self._undo.path

    def place(self, record: ImageRecord | KeptRecord) -> Placed:
        """Put the file of one record where it belongs.

        Raises:
            OutputError: it can't be done, as on a full disk.
        """
        placed = self._place(record)
        self.counts[placed.did] += 1
        return placed

    def _place(self, record: ImageRecord | KeptRecord) -> Placed:
        values = _facts(record)
        source = path_of(record.input)
        if values.get("error") or values.get("frame") or source is None or not source.is_file():
            return Placed("left", source)
        labels = values.get("labels")
        is_unsure = values.get("uncertain") or values.get("accepted") is False or (labels is not None and not labels)
        if is_unsure and self.unsure_into is None:
            return Placed("left", source)
        label = labels[0] if labels else record.label
        folder = self.root / (str(self.unsure_into) if is_unsure else folder_name(label))
        try:
            return self._into(source, folder)
        except OSError as exc:
            raise OutputError(
                f"can't {self.how} {source} to {folder}: {exc.strerror or exc}",
                hint="free some space, or name another place with --sort-into; what was done can be undone",
            ) from exc

    def _into(self, source: Path, folder: Path) -> Placed:
        for target in numbered_names(folder / source.name):
            standing = self._planned.get(target) or (target if os.path.lexists(target) else None)
            if standing is None:
                break
            if is_same(source, standing):
                if self.how == "move" and not self.dry_run and not is_one_file(source, target):
                    # Left from a run that was cut in the middle, or another copy: the content stays, once.
                    self._note("merged", source, target)
                    source.unlink()
                    return Placed(DONE[self.how], source, target)
                return Placed("there", source, target)
        if self.dry_run:
            self._planned[target] = source
            return Placed(DONE[self.how], source, target)
        folder.mkdir(parents=True, exist_ok=True)
        self._note(DONE[self.how], source, target)
        if self.how == "link":
            target.symlink_to(source.absolute())
        elif self.how == "copy":
            copy_to(source, target)
        else:
            move_to(source, target)
        return Placed(DONE[self.how], source, target)

    def _note(self, did: str, source: Path, target: Path) -> None:
        if self._undo is None:
            self._undo = UndoFile(self.root)
        self._undo.note(did, source, target)


def folder_name(label: str) -> str:
    """A class's name as that of a folder, on every system: `a/b` becomes `a_b`."""
    name = UNSAFE.sub("_", label).strip(" .")
    return f"_{name}" if not name or RESERVED.fullmatch(name) else name


def _facts(record: ImageRecord | KeptRecord) -> dict[str, Any]:
    if isinstance(record, KeptRecord):
        return record.values
    return {
        "error": record.error,
        "frame": record.frame,
        "uncertain": record.uncertain,
        "accepted": record.accepted,
        "labels": record.labels,
    }
