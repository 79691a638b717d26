"""Images into folders by their class: copied, moved or linked, never over another file, with a file to undo it.

What stands at the target already is compared byte for byte: the same content counts as done, so that a run that was cut
can be started again, and other content gets a number behind the name.
"""

import contextlib
import filecmp
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from imgcls.errors import OutputError
from imgcls.images.inputs.names import path_of
from imgcls.outputs.record import ImageRecord, KeptRecord

How = Literal["copy", "move", "link"]
DONE: dict[str, str] = {"copy": "copied", "move": "moved", "link": "linked"}
# What no file system takes in a name, or some give a meaning.
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
UNDO_NAME = "undo-%Y%m%d-%H%M%S"


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
    undo_path: Path | None = None
    _undo: TextIO | None = None
    _planned: dict[Path, Path] = field(default_factory=dict)

    def __enter__(self) -> "Sorter":
        """Nothing is made before the first image."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close the undo file."""
        if self._undo is not None:
            self._undo.close()
            self._undo = None

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
        is_unsure = values.get("uncertain") or values.get("accepted") is False
        if is_unsure and self.unsure_into is None:
            return Placed("left", source)
        folder = self.root / (str(self.unsure_into) if is_unsure else folder_name(record.label))
        try:
            return self._into(source, folder)
        except OSError as exc:
            raise OutputError(
                f"can't {self.how} {source} to {folder}: {exc.strerror or exc}",
                hint="free some space, or name another place with --sort-into; what was done can be undone",
            ) from exc

    def _into(self, source: Path, folder: Path) -> Placed:
        for target in _names(folder / source.name):
            standing = self._planned.get(target) or (target if os.path.lexists(target) else None)
            if standing is None:
                break
            if _is_same(source, standing):
                if self.how == "move" and not self.dry_run and not _is_one_file(source, target):
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
            _copy(source, target)
        else:
            _move(source, target)
        return Placed(DONE[self.how], source, target)

    def _note(self, did: str, source: Path, target: Path) -> None:
        """Before it is done: a line for what didn't happen is harmless, one that is missing isn't."""
        if self._undo is None:
            self.root.mkdir(parents=True, exist_ok=True)
            self.undo_path = _new_file(self.root)
            self._undo = self.undo_path.open("a", encoding="utf-8", newline="\n")
        stat = source.stat()
        line = {
            "did": did,
            "from": str(source.absolute()),
            "to": str(target.absolute()),
            "size_bytes": stat.st_size,
            "modified_ns": stat.st_mtime_ns,
        }
        self._undo.write(json.dumps(line, ensure_ascii=True) + "\n")
        self._undo.flush()


def folder_name(label: str) -> str:
    """A class's name as that of a folder, on every system: `a/b` becomes `a_b`."""
    name = UNSAFE.sub("_", label).strip(" .")
    return f"_{name}" if not name or RESERVED.fullmatch(name) else name


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
    (_copy if did == "merged" else _move)(target, source)
    return "undone"


def _facts(record: ImageRecord | KeptRecord) -> dict[str, Any]:
    if isinstance(record, KeptRecord):
        return record.values
    return {
        "error": record.error,
        "frame": record.frame,
        "uncertain": record.uncertain,
        "accepted": record.accepted,
    }


def _names(path: Path) -> Iterator[Path]:
    """The name itself, then with -2, -3, ... before the suffix."""
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1


def _is_one_file(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return False


def _is_same(source: Path, standing: Path) -> bool:
    """Whether the target holds the same bytes, or is a link to them."""
    try:
        return _is_one_file(source, standing) or (standing.is_file() and filecmp.cmp(source, standing, shallow=False))
    except OSError:
        return False


def _copy(source: Path, target: Path) -> None:
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        shutil.copyfile(source, part)
        shutil.copystat(source, part)
        _take_place(part, target)
    finally:
        part.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    try:
        _take_place(source, target)
    except OSError:
        if target.exists() and not _is_one_file(source, target):
            raise
        # Another file system.
        _copy(source, target)
    source.unlink(missing_ok=True)


def _take_place(source: Path, target: Path) -> None:
    """Give a file a second name, which must be free; where there are no hard links, rename it.

    Raises:
        FileExistsError: somebody else took the name meanwhile.
        OSError: the target is on another file system.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        if os.path.lexists(target):
            raise
        source.rename(target)


def _new_file(root: Path) -> Path:
    stem = datetime.now().astimezone().strftime(UNDO_NAME)
    for path in _names(root / f"{stem}.jsonl"):
        with contextlib.suppress(FileExistsError):
            path.touch(exist_ok=False)
            return path
    raise AssertionError("names never end")
