"""Labels in a table in the place of folders: CSV, TSV or Parquet with a row per image.

    path,label,split,group
    shots/a.jpg,cat,train,camera-1
    shots/b.jpg,cat;dog,train,camera-2

`path` is relative to the table's folder. `split` (train, val or test) may be left out: then images of all are kept for
validation, and none of a `group` (a patient, a camera, a video) is on both sides. Several labels have a semicolon
between them; then every row may have any number of labels, none included.
"""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcls.datasets.readers.archive_images import ArchiveImages
from imgcls.datasets.readers.folder import SPLIT_FOLDERS
from imgcls.datasets.readers.folder_checks import quoted, spell
from imgcls.datasets.stored_images import FileImages, ImageFile
from imgcls.errors import DataError

SUFFIXES = (".csv", ".tsv", ".parquet")
# What people call the columns, in whatever case.
PATH_COLUMNS = ("path", "file", "filename", "file_name", "image", "image_path", "filepath")
LABEL_COLUMNS = ("label", "class", "category", "class_name")
SPLIT_COLUMNS = ("split", "subset", "fold_name")
GROUP_COLUMN = "group"
SPLITS_BY_NAME = {name: split for split, names in SPLIT_FOLDERS.items() for name in names}
HINT = "its columns are path, label and, if you like, split and group: path,label,split"
SEVERAL = ";"


@dataclass(frozen=True)
class LabelTable:
    """The images of a table.

    Attributes:
        images: in the order of the table, each once.
        labels: the classes of each, by name, sorted; exactly one where `is_multi_label` is false.
        splits: of each `train`, `val` or `test`; empty without such a column.
        groups: of each; empty without such a column.
        is_multi_label: whether an image may have any number of labels.
        names: of each image, which a split goes by, wherever the data lie.
        warnings: what the person should know about the data, a sentence each.
    """

    images: FileImages | ArchiveImages
    labels: tuple[tuple[str, ...], ...]
    splits: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    is_multi_label: bool = False
    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def fingerprint(self, rows: Sequence[int]) -> str:
        """SHA-256 over names, sizes and times of the files, and over their labels."""
        files = self.images.fingerprint(rows)
        labels = (SEVERAL.join(self.labels[row]) for row in rows)
        return hashlib.sha256("\0".join((files, *labels)).encode()).hexdigest()


def is_table(path: Path) -> bool:
    """Whether a data set is named as a table."""
    return path.suffix.lower() in SUFFIXES


def read_table(path: Path, *, group_column: str = "", multi_label: bool | None = None) -> LabelTable:
    """Read a table and look at the files that it names; one that isn't there is found when it is decoded.

    Args:
        path: the table.
        group_column: whose values stay on one side of a split; empty takes `group` where there is one.
        multi_label: whether an image may have any number of labels; None where a row has several.
    Raises:
        DataError: it can't be read, lacks a column, or a row contradicts itself or another one.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path} holds no rows", hint=HINT)
    named = {name.strip().lower(): name for name in rows[0][1]}
    path_column, label_column = (
        _column(path, named, names, what) for names, what in ((PATH_COLUMNS, "path"), (LABEL_COLUMNS, "label"))
    )
    split_column = next((named[name] for name in SPLIT_COLUMNS if name in named), None)
    if group_column and group_column.strip().lower() not in named:
        raise DataError(f"{path} has no column {group_column!r}", hint=f"its columns are {', '.join(named.values())}")
    group_key = named.get(group_column.strip().lower() or GROUP_COLUMN)
    if multi_label is None:
        multi_label = any(SEVERAL in _text(row, label_column) for _number, row in rows)
    seen: dict[str, tuple[str, str]] = {}
    files: list[ImageFile] = []
    labels: list[tuple[str, ...]] = []
    splits: list[str] = []
    groups: list[str] = []
    for number, row in rows:
        name, label = _text(row, path_column), _text(row, label_column)
        if not name or not (label or multi_label):
            raise DataError(f"{path}, row {number}: no {'path' if not name else 'label'}", hint=HINT)
        if SEVERAL in label and not multi_label:
            raise DataError(f"{path}, row {number}: several labels, {label!r}", hint="one label per image")
        several = _several(label) if multi_label else (label,)
        label = SEVERAL.join(several)
        split = _split(path, number, _text(row, split_column)) if split_column is not None else ""
        if name in seen:
            if seen[name] != (label, split):
                raise DataError(
                    f"{path}, row {number}: {name} is listed twice, first as {' in '.join(filter(None, seen[name]))}",
                    hint="each image has one row",
                )
            continue
        seen[name] = (label, split)
        files.append(_file(path.parent, name, label))
        labels.append(several)
        splits.append(split)
        groups.append(_text(row, group_key) if group_key is not None else "")
    return LabelTable(
        FileImages(path.parent, files),
        tuple(labels),
        tuple(splits) if split_column is not None else (),
        tuple(groups) if group_key is not None else (),
        multi_label,
        tuple(file.name for file in files),
    )


def unknown_labels(path: Path, split: str, unknown: Sequence[str]) -> DataError:
    """The error for classes that training doesn't have."""
    what = spell(unknown, "class", "classes")
    return DataError(
        f"in {path}, {split} has {what} that train lacks: {quoted(unknown)}", hint="add rows of them to train"
    )


def _several(text: str) -> tuple[str, ...]:
    """The labels of a list, each once."""
    return tuple(sorted({part.strip() for part in text.split(SEVERAL)} - {""}))


def _column(path: Path, named: Mapping[str, str], names: Sequence[str], what: str) -> str:
    for name in names:
        if name in named:
            return named[name]
    raise DataError(f"{path} has no column {what!r}, but {', '.join(named.values())}", hint=HINT)


def _split(path: Path, number: int, text: str) -> str:
    split = SPLITS_BY_NAME.get(text.lower())
    if split is None:
        raise DataError(f"{path}, row {number}: {text!r} is no split", hint="use train, val or test")
    return split


def _text(row: Mapping[str, Any], column: str | None) -> str:
    value = row.get(column) if column is not None else None
    return "" if value is None else str(value).strip()


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows with their number, as a person counts them."""
    try:
        if path.suffix.lower() == ".parquet":
            yield from enumerate(_parquet_rows(path), 1)
            return
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"can't read {path}: {getattr(exc, 'strerror', None) or 'it is not UTF-8'}", hint=HINT) from exc
    # Spreadsheets of some countries write semicolons. The first line decides, which holds no lists of labels.
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    yield from enumerate(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter), 2)


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as exc:
        raise DataError(
            f"reading {path} needs pyarrow, not installed here", hint="pip install 'imgcls[parquet]'"
        ) from exc
    try:
        found: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as exc:
        raise DataError(f"can't read {path}: {str(exc).partition(chr(10))[0]}", hint=HINT) from exc
    return found


def _file(folder: Path, name: str, label: str) -> ImageFile:
    try:
        stat = (folder / name).stat()
    except (OSError, ValueError):
        # Counted among the images that can't be read.
        return ImageFile(name, label, 0, 0, 0)
    return ImageFile(name, label, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
