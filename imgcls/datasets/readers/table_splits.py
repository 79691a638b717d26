"""From a table of labels to the images and labels of each split."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imgcls.datasets.labelled_images import DataDescription
from imgcls.datasets.readers.folder_checks import spell
from imgcls.datasets.readers.tables import LabelTable, read_table, unknown_labels
from imgcls.datasets.resolved import WHOLE, ResolvedData, ResolvedSplit
from imgcls.datasets.splits import Carving
from imgcls.errors import DataError

DEFAULT_VAL_FRACTION = 0.2


def resolve_table(
    spec: str, path: Path, splits: Sequence[str] | None, carving: Carving, *, whole: bool, group_column: str
) -> ResolvedData:
    """The splits of a table; see `resolving.resolve`.

    Raises:
        DataError: the table can't be used, or has no split to evaluate.
    """
    table = read_table(path, group_column=group_column)
    if table.splits and carving.fold is not None and "val" in table.splits:
        raise DataError(f"{path} has rows of val, so that there are no folds", hint="leave out its column of splits")
    rows_of, notes = _own_splits(table) if table.splits else _carved(table, carving)
    if splits is None:
        splits = _to_evaluate(path, rows_of, is_carved=not table.splits, whole=whole)
    classes = tuple(sorted({table.labels[row] for row in rows_of.get("train", range(len(table.labels)))}))
    index_of = {name: index for index, name in enumerate(classes)}
    resolved: dict[str, ResolvedSplit] = {}
    for name in splits:
        rows = range(len(table.labels)) if name == WHOLE else rows_of.get(name, ())
        if not rows:
            continue
        if unknown := sorted({table.labels[row] for row in rows} - set(classes)):
            raise unknown_labels(path, name, unknown)
        description = DataDescription(spec, name, table.fingerprint(rows))
        labels = [index_of[table.labels[row]] for row in rows]
        resolved[name] = ResolvedSplit(table.images, rows, labels, description)
    return ResolvedData(classes, resolved, tuple(notes))


def _own_splits(table: LabelTable) -> tuple[dict[str, Sequence[int]], list[str]]:
    rows_of: dict[str, Sequence[int]] = {
        split: [row for row, of in enumerate(table.splits) if of == split] for split in ("train", "val", "test")
    }
    notes = []
    if table.groups:
        sides: dict[str, set[str]] = {}
        for group, split in zip(table.groups, table.splits, strict=True):
            sides.setdefault(group, set()).add(split)
        torn = sorted(group for group, found in sides.items() if len(found) > 1)
        if torn:
            what = spell(torn, "group is", "groups are")
            notes.append(f"{what} in more than one split, such as {torn[0]!r}: accuracies say too much")
    return {split: rows for split, rows in rows_of.items() if rows}, notes


def _carved(table: LabelTable, carving: Carving) -> tuple[dict[str, Sequence[int]], list[str]]:
    fraction = DEFAULT_VAL_FRACTION if carving.val_fraction is None else carving.val_fraction
    if not fraction:
        return {"train": range(len(table.labels))}, []
    names = sorted(set(table.labels))
    labels = [names.index(label) for label in table.labels]
    files = [file.name for file in table.images.files]
    found = replace(carving, groups=table.groups).carve(labels, files, table.images, fraction)
    return {split: rows for split, rows in found.items() if rows}, []


def _to_evaluate(path: Path, rows_of: dict[str, Sequence[int]], *, is_carved: bool, whole: bool) -> tuple[str, ...]:
    if is_carved:
        return (WHOLE,) if whole else ("val",)
    found = next((name for name in ("test", "val") if name in rows_of), None)
    if found is None and not whole:
        return ("val",)
    if found is None:
        raise DataError(f"{path} has only train rows", hint="--split train measures those")
    return (found,)
