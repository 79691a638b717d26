"""The fix list: what a person decided about findings, and what training then does; files are never touched.

A CSV of `path,action,to,kind,reason,score`: `keep` leaves an image as it is, `drop` leaves it out, `move` gives it the
class `to` (or several, with semicolons between them, where images have several). Only the first three columns are
read back.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from imgcls.datasets.checks.finding import Finding
from imgcls.datasets.labelled_images import DataDescription
from imgcls.datasets.readers.tables import SEVERAL
from imgcls.datasets.resolved import Labels, ResolvedData, ResolvedSplit
from imgcls.datasets.stored_images import FileImages
from imgcls.errors import DataError
from imgcls.host.terminal_text import counted

Action = Literal["keep", "drop", "move"]
ACTIONS: tuple[Action, ...] = get_args(Action)
COLUMNS = ("path", "action", "to", "kind", "reason", "score")
# What is sure enough to be done without a look: of a leak the measured side goes. All else is kept until a person says
# otherwise; a suspected label has the other class beside it, so that `keep` need only become `move`.
PROPOSED: dict[str, Action] = {"unreadable": "drop", "leakage": "drop"}
# Findings of images, the least serious first.
URGENCY = ("odd", "near_duplicate", "duplicate", "label", "conflict", "leakage", "unreadable")


@dataclass(frozen=True, slots=True)
class Fix:
    """What is to become of one image.

    Attributes:
        action: `keep`, `drop` or `move`.
        to: the class that it moves to; empty else.
    """

    action: Action
    to: str = ""


def with_fixes(data: ResolvedData, path: Path, *, is_whole: bool = True) -> ResolvedData:
    """A data set as a list of fixes wants it; a warning says how many images that concerns.

    Args:
        data: the splits.
        path: the list.
        is_whole: whether all splits are there, so that an image which isn't among them is nowhere.
    Raises:
        DataError: as `read_fixes` and `apply_fixes`.
    """
    applied = apply_fixes(data, read_fixes(path), path)
    told = [f"{path}: {counted(applied.num_dropped, 'image')} left out, {applied.num_moved:,} given another class"]
    if applied.unmet and is_whole:
        told.append(f"{path} names {counted(len(applied.unmet), 'image')} that the data lacks, as {applied.unmet[0]}")
    return replace(applied.data, warnings=(*data.warnings, *told))


@dataclass(frozen=True)
class AppliedFixes:
    """A data set with its fixes.

    Attributes:
        data: the splits without the dropped images, and with the labels of the moved ones.
        num_dropped, num_moved: how many images.
        unmet: paths of the list that no image of the data set has.
    """

    data: ResolvedData
    num_dropped: int
    num_moved: int
    unmet: tuple[str, ...]


def fix_list(findings: Iterable[Finding]) -> str:
    """The CSV for a person to edit: a row per image, the most serious finding of it first, with what is proposed."""
    rows: dict[str, Finding] = {}
    for finding in findings:
        if finding.kind not in URGENCY:
            continue
        known = rows.get(finding.input)
        if known is None or _urgency(finding) > _urgency(known):
            rows[finding.input] = finding
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for path, finding in rows.items():
        action = PROPOSED.get(finding.kind, "keep")
        to = finding.suggested_label or ""
        writer.writerow([path, action, to, finding.kind, finding.reason, f"{finding.score:.4f}"])
    return out.getvalue()


def read_fixes(path: Path) -> dict[str, Fix]:
    """What a list says, by path.

    Raises:
        DataError: it can't be read, lacks a column, or a row means nothing.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        reason = getattr(exc, "strerror", None) or "it is not UTF-8"
        raise DataError(f"can't read {path}: {reason}", hint="imgcls check DATA --fix-list FILE writes one") from exc
    reader = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in COLUMNS[:2] if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path} has no column {missing[0]!r}", hint=f"its first line is {','.join(COLUMNS[:3])},...")
    fixes: dict[str, Fix] = {}
    for number, row in enumerate(reader, 2):
        action, to = (row.get("action") or "").strip().lower(), (row.get("to") or "").strip()
        if action not in ACTIONS:
            raise DataError(f"{path}, line {number}: {action!r} is no action", hint=f"use {', '.join(ACTIONS)}")
        if action == "move" and not to:
            raise DataError(f"{path}, line {number}: move to which class?", hint="name it in the column 'to'")
        fixes[str(row["path"])] = Fix(action, to if action == "move" else "")
    return fixes


def apply_fixes(data: ResolvedData, fixes: Mapping[str, Fix], source: Path) -> AppliedFixes:
    """Leave out and relabel what a list names; the files stay as they are.

    Paths are compared as whole paths, so that it doesn't matter from where the list was written.

    Args:
        data: splits in files.
        fixes: by path.
        source: the list, for messages.
    Raises:
        DataError: a class that the data doesn't have, or a data set without files.
    """
    index_of = {name: index for index, name in enumerate(data.classes)}
    targets = {fix.to: fix.to.split(SEVERAL) if data.is_multi_label else [fix.to] for fix in fixes.values() if fix.to}
    unknown = sorted({name for names in targets.values() for name in names} - set(index_of))
    if unknown:
        raise DataError(
            f"{source} moves images to {unknown[0]!r}, which is no class of the data",
            hint=f"the classes are {', '.join(data.classes[:5])}" + (", ..." if len(data.classes) > 5 else ""),
        )
    whole = {str(Path(path).absolute()): fix for path, fix in fixes.items()}
    met: set[str] = set()
    num_dropped = num_moved = 0
    splits: dict[str, ResolvedSplit] = {}
    for name, split in data.splits.items():
        if not isinstance(split.images, FileImages):
            raise DataError("a list of fixes goes with images in files", hint="leave out --data-fixes")
        rows: list[int] = []
        labels: list[Labels] = []
        for row, label in zip(split.rows, split.labels, strict=True):
            path = str(split.images.path(row).absolute())
            fix = whole.get(path)
            if fix is not None:
                met.add(path)
                if fix.action == "drop":
                    num_dropped += 1
                    continue
                if fix.action == "move":
                    several = tuple(sorted(index_of[name] for name in targets[fix.to]))
                    moved = several if data.is_multi_label else several[0]
                    num_moved += moved != label
                    label = moved
            rows.append(row)
            labels.append(label)
        if not rows:
            raise DataError(f"{source} drops every image of {name}", hint="keep some of them")
        splits[name] = replace(split, rows=rows, labels=labels, description=_described(split, rows, labels))
    unmet = tuple(path for path in fixes if str(Path(path).absolute()) not in met)
    return AppliedFixes(replace(data, splits=splits), num_dropped, num_moved, unmet)


def _described(split: ResolvedSplit, rows: list[int], labels: list[Labels]) -> DataDescription:
    """The same where nothing was changed, else with a fingerprint of its own."""
    told = split.description
    if rows == list(split.rows) and labels == list(split.labels):
        return told
    digest = hashlib.sha256(f"{told.fingerprint}/{rows}/{labels}".encode()).hexdigest()
    return replace(told, fingerprint=digest)


def _urgency(finding: Finding) -> int:
    return URGENCY.index(finding.kind)
