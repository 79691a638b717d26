"""From what `--data` says to the images and labels of each split, before any image is decoded."""

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.labelled_images import DataDescription
from imgcls.datasets.readers import cifar10
from imgcls.datasets.readers.archives import find_archives, read_archives
from imgcls.datasets.readers.cifar10_download import fetch_cifar10
from imgcls.datasets.readers.folder import (
    LAYOUT_HINT,
    ScannedFolder,
    find_split_folders,
    holds_loose_images,
    left_out,
    scan_classes,
)
from imgcls.datasets.readers.folder_checks import (
    beside_splits,
    folder_warnings,
    quoted,
    same_but_for_case,
    singles,
    spell,
    unlabelled,
)
from imgcls.datasets.readers.table_splits import resolve_table, split_labelled
from imgcls.datasets.readers.tables import is_table
from imgcls.datasets.resolved import WHOLE, ResolvedData, ResolvedSplit
from imgcls.datasets.splits import Carving
from imgcls.datasets.stored_images import ArrayImages, FileImages
from imgcls.errors import DataError
from imgcls.host import cache_folders
from imgcls.host.http.download import DownloadProgress

SPLITS = ("train", "val", "test")
# What becomes of a data set that lacks the folder of a split.
WITHOUT = {"val": "a part of the training images then validates", "test": "nothing is measured at the end then"}
# Where there is neither a val nor a test folder, training must validate on something.
DEFAULT_VAL_FRACTION = 0.2


def find_source(source: str, *, near: Path) -> str:
    """Where a data set lies that a run names; runs of earlier versions name it relative to where they were started.

    Args:
        source: `cifar10`, or a folder.
        near: the run's folder or a file in it; its parents are tried after the current folder.
    """
    path = Path(source).expanduser()
    if source == "cifar10" or path.is_absolute() or path.exists():
        return source
    found = (parent / path for parent in near.absolute().parents)
    return next((str(folder) for folder in found if folder.is_dir()), source)


def resolve(
    spec: str,
    *,
    splits: Sequence[str] | None,
    val_fraction: float | None = None,
    seed: int = 0,
    seen: SeenImages | None = None,
    whole: bool = True,
    allow_modified: bool = False,
    group_column: str = "",
    multi_label: bool | None = None,
    fold: tuple[int, int] | None = None,
    download_progress: DownloadProgress | None = None,
) -> ResolvedData:
    """Find a data set and the images of the splits asked for.

    Args:
        spec: `cifar10`, a folder that is or holds `cifar-10-batches-py`, an image folder, a table (see `tables`), or
            archives (see `archives`).
        splits: names among `SPLITS`; those that don't exist are left out. None for the one to evaluate: test, else
            val, else (class folders alone) what `whole` says.
        val_fraction: what to carve from train where there is no val; None carves only where there is no test either.
        seed: of the carving.
        seen: the images of an earlier training, whose split is kept: none that it trained on validates.
        whole: evaluate all of class folders alone, else only what training keeps for validation.
        allow_modified: accept CIFAR-10 files with other checksums than the published ones.
        group_column: of a table, whose values stay on one side of a split; empty takes `group` where there is one.
        multi_label: whether an image of a table may have any number of labels; None where a row has several.
        fold: which part of cross-validation validates in the place of a share, from 1, and how many parts there are.
        download_progress: called with bytes so far and in all.
    Raises:
        DataError: no such data set, or it can't be used.
        ConfigError: val_fraction is out of range.
    """
    if spec == "cifar10" and multi_label:
        raise DataError("CIFAR-10 has one label per image", hint="leave out --multi-label")
    if spec == "cifar10":
        batches = cifar10.find_batches(cache_folders.datasets_folder()) or fetch_cifar10(progress=download_progress)
    else:
        root = Path(spec).expanduser()
        if archives := find_archives(spec):
            if group_column:
                raise DataError(f"{spec} has no columns, so that there are no groups", hint="leave out --group-column")
            table = read_archives(spec, archives, multi_label=multi_label)
            return split_labelled(spec, root, table, splits, Carving(val_fraction, seed, seen, fold=fold), whole=whole)
        if not root.exists():
            raise DataError(f"no such data set: {spec}", hint=f"use cifar10 or a folder; {LAYOUT_HINT}")
        if root.is_file() and is_table(root):
            carving = Carving(val_fraction, seed, seen, fold=fold)
            return resolve_table(
                spec, root, splits, carving, whole=whole, group_column=group_column, multi_label=multi_label
            )
        if multi_label:
            raise DataError(
                f"{spec} has one label per image, by its folders",
                hint="--data TABLE.csv has several: path,label with lines such as a.jpg,cat;dog",
            )
        if group_column:
            raise DataError(f"{spec} has no columns, so that there are no groups", hint="--data TABLE.csv has them")
        found = cifar10.find_batches(root) if root.is_dir() else None
        if found is None:
            folders = find_split_folders(root)
            notes: list[str] = []
            if folders:
                notes += beside_splits(*left_out(root, folders))
            for name in ("val", "test"):
                # Asked for by name it is an error; else training and evaluation do without.
                if name in folders and "train" in folders and splits != (name,) and holds_loose_images(folders[name]):
                    notes.append(unlabelled(name, folders.pop(name)))
            chosen = _split_to_evaluate(root, folders, whole=whole) if splits is None else splits
            if "val" in folders and fold is not None:
                raise DataError(
                    f"{root} has a val folder, so that there are no folds",
                    hint=f"--data {shlex.quote(str(folders.get('train', root)))}",
                )
            if "val" in folders and val_fraction and "train" in chosen:
                notes.append(f"data.val_fraction = {val_fraction:g} changes nothing: {folders['val']} validates")
            data = _resolve_folder(spec, root, folders, chosen, Carving(val_fraction, seed, seen, fold=fold))
            return replace(data, warnings=(*notes, *data.warnings))
        batches = found
    return _resolve_cifar10(batches, splits or ("test",), Carving(val_fraction, seed, seen, fold=fold), allow_modified)


def _resolve_cifar10(folder: Path, splits: Sequence[str], carving: Carving, allow_modified: bool) -> ResolvedData:
    val_fraction = carving.val_fraction or 0
    resolved: dict[str, ResolvedSplit] = {}
    classes: tuple[str, ...] = ()
    for stored, wanted in (("train", {"train", "val"} if val_fraction else {"train"}), ("test", {"test"})):
        if wanted.isdisjoint(splits):
            continue
        part = cifar10.read_split(folder, stored, allow_modified=allow_modified)
        classes = part.classes
        images = ArrayImages(part.pixels_NCHW, folder, part.fingerprint)
        if stored == "test" or not val_fraction:
            description = DataDescription("cifar10", stored, part.fingerprint, part.modified)
            resolved[stored] = ResolvedSplit(images, range(len(images)), part.labels, description)
            continue
        names = [f"{index:05d}" for index in range(len(images))]
        for name, rows in carving.carve(part.labels, names, images, val_fraction).items():
            carved = hashlib.sha256(f"{part.fingerprint}/{name}/{val_fraction}/{carving.seed}".encode()).hexdigest()
            description = DataDescription("cifar10", name, carved, part.modified)
            resolved[name] = ResolvedSplit(images, rows, [part.labels[row] for row in rows], description)
    return ResolvedData(classes, {name: resolved[name] for name in splits if name in resolved})


def _split_to_evaluate(root: Path, folders: dict[str, Path], *, whole: bool) -> tuple[str]:
    for name in ("test", "val"):
        if name in folders:
            return (name,)
    if not whole:
        return ("val",)
    if folders:
        raise DataError(
            f"{root} has only a train folder",
            hint=f"--data {shlex.quote(str(root / 'train'))} evaluates all of it, "
            "--split val what training keeps for validation",
        )
    return (WHOLE,)


def _resolve_folder(
    spec: str,
    root: Path,
    folders: dict[str, Path],
    splits: Sequence[str],
    carving: Carving,
) -> ResolvedData:
    source = folders.get("train") if folders else root
    carve = "val" not in folders and source is not None
    fraction = carving.val_fraction
    if fraction is None:
        fraction = 0 if "test" in folders else DEFAULT_VAL_FRACTION
    scans = {
        name: scan_classes(folders[name], hint=f"fill that folder, or remove it: {WITHOUT[name]}")
        for name in splits
        if name in folders and name != "train"
    }
    train = None
    if source is not None and (WHOLE in splits or "train" in splits or (carve and fraction and "val" in splits)):
        train = scan_classes(source)
    classes = train.classes if train else tuple(sorted({name for scan in scans.values() for name in scan.classes}))
    index_of = {name: index for index, name in enumerate(classes)}
    warnings = [text for scan in (train, *scans.values()) if scan is not None for text in folder_warnings(scan)]
    resolved: dict[str, ResolvedSplit] = {}
    if train is not None:
        images = FileImages(train.root, train.files)
        labels = [index_of[file.label] for file in train.files]
        rows_of: dict[str, Sequence[int]] = {"train": range(len(images)), WHOLE: range(len(images))}
        if carve and fraction and WHOLE not in splits:
            carved = carving.carve(labels, [file.name for file in train.files], images, fraction)
            # Where no class has two images, nothing is left to validate on.
            rows_of = {name: rows for name, rows in carved.items() if rows}
            warnings += singles(train)
        for name, rows in rows_of.items():
            if name in splits:
                description = DataDescription(spec, name, images.fingerprint(rows))
                resolved[name] = ResolvedSplit(images, rows, [labels[row] for row in rows], description)
    for name, scan in scans.items():
        unknown = [label for label in scan.classes if label not in index_of]
        if unknown:
            raise _unknown_classes(scan, unknown, classes, source)
        absent = [label for label in classes if label not in scan.classes]
        if absent:
            warnings.append(f"{scan.root} has no images of {quoted(absent)}")
        images = FileImages(scan.root, scan.files)
        description = DataDescription(spec, name, images.fingerprint())
        rows = range(len(images))
        resolved[name] = ResolvedSplit(images, rows, [index_of[file.label] for file in scan.files], description)
    return ResolvedData(classes, resolved, tuple(warnings))


def _unknown_classes(
    scan: ScannedFolder, unknown: Sequence[str], classes: Sequence[str], source: Path | None
) -> DataError:
    message = f"{scan.root} has {spell(unknown, 'class', 'classes')} that {source} lacks: {quoted(unknown)}"
    if pairs := same_but_for_case(unknown, classes):
        name, other = pairs[0]
        return DataError(message, hint=f"rename {scan.root / name} to {other!r}: names must be the same, case included")
    it = "it" if len(unknown) == 1 else "them"
    return DataError(message, hint=f"add images of {it} to {source}, or remove {it} from {scan.root}")
