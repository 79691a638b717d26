"""From a table of labels to the images and labels of each split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imgcls.datasets.labelled_images import DataDescription
from imgcls.datasets.readers.folder_checks import spell
from imgcls.datasets.readers.tables import HINT, LabelTable, read_table, unknown_labels
from imgcls.datasets.resolved import WHOLE, Labels, ResolvedData, ResolvedSplit
from imgcls.datasets.splits import Carving
from imgcls.errors import DataError

DEFAULT_VAL_FRACTION = 0.2


def resolve_table(
    spec: str,
    path: Path,
    splits: Sequence[str] | None,
    carving: Carving,
    *,
    whole: bool,
    group_column: str,
    multi_label: bool | None = None,
) -> ResolvedData:
    """The splits of a table; see `resolving.resolve`.

    Raises:
        DataError: the table can't be used, or has no split to evaluate.
    """
    table = read_table(path, group_column=group_column, multi_label=multi_label)
    return split_labelled(spec, path, table, splits, carving, whole=whole)


def split_labelled(
    spec: str, path: Path, table: LabelTable, splits: Sequence[str] | None, carving: Carving, *, whole: bool
) -> ResolvedData:
    """The splits of labelled images, whatever told their labels; see `resolving.resolve`.

    Args:
        spec: as the user named the data.
        path: for messages.
        table: the images.
        splits: see `resolving.resolve`.
        carving: how validation images are taken from the training images.
        whole: see `resolving.resolve`.
    Raises:
        DataError: there is no split to evaluate, or they contradict each other.
    """
    if table.splits and carving.fold is not None and "val" in table.splits:
        raise DataError(f"{path} has a val split, so that there are no folds", hint="leave out its column of splits")
    rows_of, notes = _own_splits(table) if table.splits else _carved(table, carving)
    if splits is None:
        splits = _to_evaluate(path, rows_of, is_carved=not table.splits, whole=whole)
    # By chance a class of several may have all of its images on the side that validates.
    known = range(len(table.labels)) if not table.splits else rows_of.get("train", range(len(table.labels)))
    classes = tuple(sorted({label for row in known for label in table.labels[row]}, key=_by_number))
    if not classes:
        raise DataError(f"{path} has no label in any row", hint=HINT)
    index_of = {name: index for index, name in enumerate(classes)}
    resolved: dict[str, ResolvedSplit] = {}
    for name in splits:
        rows = range(len(table.labels)) if name == WHOLE else rows_of.get(name, ())
        if not rows:
            continue
        if unknown := sorted({label for row in rows for label in table.labels[row]} - set(classes)):
            raise unknown_labels(path, name, unknown)
        description = DataDescription(spec, name, table.fingerprint(rows))
        several = [tuple(index_of[label] for label in table.labels[row]) for row in rows]
        labels: Sequence[Labels] = several if table.is_multi_label else [each for (each,) in several]
        resolved[name] = ResolvedSplit(table.images, rows, labels, description)
    return ResolvedData(classes, resolved, (*table.warnings, *notes), is_multi_label=table.is_multi_label)


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
    labels = _strata(table)
    found = replace(carving, groups=table.groups).carve(labels, table.names, table.images, fraction)
    return {split: rows for split, rows in found.items() if rows}, []


def _by_number(label: str) -> tuple[int, str]:
    """Numbers, as WebDataset's `.cls` has them, in their order; names after them by the alphabet."""
    is_number = label.isascii() and label.isdigit() and len(label) < 10
    return (int(label) - 10**10, "") if is_number else (0, label)


def _strata(table: LabelTable) -> list[int]:
    """What each image is counted as when a share of every class is taken: the rarest of its labels.

    So a rare class, which has the most to lose by chance, has its share on both sides. An image without labels is of a
    class of its own.
    """
    counts = Counter(label for labels in table.labels for label in labels)
    index_of = {label: index for index, label in enumerate(sorted(counts))}
    return [
        index_of[min(labels, key=lambda label: (counts[label], label))] if labels else len(index_of)
        for labels in table.labels
    ]


def _to_evaluate(path: Path, rows_of: dict[str, Sequence[int]], *, is_carved: bool, whole: bool) -> tuple[str, ...]:
    if is_carved:
        return (WHOLE,) if whole else ("val",)
    found = next((name for name in ("test", "val") if name in rows_of), None)
    if found is None and not whole:
        return ("val",)
    if found is None:
        raise DataError(f"{path} has only training images", hint="--split train measures those")
    return (found,)
