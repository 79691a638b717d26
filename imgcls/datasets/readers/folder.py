"""Folders of images whose sub-folders are their classes."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imgcls.datasets.stored_images import ImageFile
from imgcls.errors import DataError
from imgcls.images.inputs.walking import has_image_suffix

# What people call the folders of each split, in whatever case.
SPLIT_FOLDERS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
LAYOUT_HINT = "expected DIR/train/CLASS/*.jpg with DIR/val/CLASS/*.jpg (or valid, test), or DIR/CLASS/*.jpg alone"

# What the folder of a run, and that of a study, always holds.
OUTPUT_FILES = (("config.toml", "metrics.jsonl"), ("config.toml", ".lock"), ("recipe.toml", "space.toml"))
ARCHIVE_SUFFIXES = (".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".7z", ".rar")


@dataclass(frozen=True)
class ScannedFolder:
    """The class folders below one folder.

    Attributes:
        root: that folder.
        files: its images, sorted by class and name.
        classes: names of the class folders that hold images, sorted.
        empty: names of those that hold none, sorted.
        loose: names of images beside the class folders, sorted; they belong to no class.
        hidden: names of folders that hold images but begin with a dot, sorted; they are passed over.
        outputs: names of folders that hold what training left behind, sorted; they are no classes.
    """

    root: Path
    files: tuple[ImageFile, ...]
    classes: tuple[str, ...]
    empty: tuple[str, ...]
    loose: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


def find_split_folders(root: Path) -> dict[str, Path]:
    """The folders of each split: keys among `train`, `val` and `test`; empty for class folders alone.

    A `train` that holds class folders is a split, whatever lies beside it; one that holds images itself, beside other
    folders, is a class of that name (cars, trains, ships). Folders of runs count for nothing.

    Raises:
        DataError: two folders claim the same split, or the folder can't be listed.
    """
    folders = [Path(entry.path) for entry in _list(root) if _is_folder(entry) and not is_output(Path(entry.path))]
    found: dict[str, Path] = {}
    for split, names in SPLIT_FOLDERS.items():
        present = [folder for folder in folders if folder.name.lower() in names]
        if len(present) > 1:
            raise DataError(
                f"{root} has both {' and '.join(path.name for path in present)}", hint="rename or remove one of them"
            )
        if present:
            found[split] = present[0]
    only_splits = len(found) == len(folders)
    if only_splits or ("train" in found and (len(found) > 1 or _holds_class_folders(found["train"]))):
        return found
    return {}


def left_out(root: Path, splits: dict[str, Path]) -> tuple[list[str], list[str]]:
    """Names of the folders beside a data set's splits: of runs and studies, and others."""
    names = [entry.name for entry in _list(root) if _is_folder(entry) and root / entry.name not in splits.values()]
    outputs = [name for name in names if is_output(root / name)]
    return outputs, [name for name in names if name not in outputs]


def is_output(folder: Path) -> bool:
    """Whether a folder is that of a run or a study, or one that holds them and no images: `runs`, `studies`."""

    def written_by_imgcls(path: Path) -> bool:
        return any(all((path / name).is_file() for name in names) for names in OUTPUT_FILES)

    try:
        if written_by_imgcls(folder):
            return True
        entries = list(folder.iterdir())
        if any(has_image_suffix(entry.name) for entry in entries):
            return False
        return any(entry.is_dir() and written_by_imgcls(entry) for entry in entries)
    except OSError:
        # Whoever lists it next says so.
        return False


def holds_loose_images(folder: Path) -> bool:
    """Whether a folder holds images, and none of its folders does."""
    entries = _list(folder)
    return any(has_image_suffix(e.name) and not _is_folder(e) for e in entries) and not _class_folders(folder)


def _holds_class_folders(folder: Path) -> bool:
    loose = any(has_image_suffix(entry.name) for entry in _list(folder) if not _is_folder(entry))
    return not loose and len(_class_folders(folder)) > 1


def _class_folders(folder: Path) -> list[str]:
    """Names of the folders in it that hold images, however deep."""
    return [
        entry.name
        for entry in _list(folder)
        if _is_folder(entry) and next(_walk(Path(entry.path), "", entry.name, set()), None) is not None
    ]


def scan_classes(root: Path, *, hint: str = LAYOUT_HINT) -> ScannedFolder:
    """List the images below each class folder, however deep.

    Hidden files and files without an image's suffix are passed over. Links are followed, each folder once a class.

    Args:
        root: the folder of class folders.
        hint: what to do where they hold no image.
    Raises:
        DataError: no class folder holds an image, or one can't be listed.
    """
    files: list[ImageFile] = []
    empty: list[str] = []
    loose: list[str] = []
    outputs: list[str] = []
    for entry in _list(root):
        if not _is_folder(entry):
            if has_image_suffix(entry.name):
                loose.append(entry.name)
            continue
        if is_output(Path(entry.path)):
            outputs.append(entry.name)
            continue
        label = _label(entry)
        found = list(_walk(Path(entry.path), f"{entry.name}/", label, set()))
        files += found
        if not found:
            empty.append(label)
    if not files:
        what = "images, but not in class folders" if loose else "no images in class folders"
        raise DataError(f"{root} holds {what}", hint=hint)
    files.sort(key=lambda file: (file.label, file.name))
    classes = {file.label for file in files}
    return ScannedFolder(
        root,
        tuple(files),
        tuple(sorted(classes)),
        tuple(sorted(set(empty) - classes)),
        loose=tuple(loose),
        hidden=tuple(_hidden_folders(root)),
        outputs=tuple(outputs),
    )


def other_suffixes(folder: Path) -> dict[str, int]:
    """How many files of each kind lie below a folder, by their suffix in lower case; the most frequent first."""
    counts: Counter[str] = Counter()
    for _parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        counts.update(Path(name).suffix.lower() for name in names if not name.startswith("."))
    return dict(counts.most_common())


def _hidden_folders(root: Path) -> Iterator[str]:
    """Folders that the scan passes over although an image lies in them."""
    try:
        with os.scandir(root) as entries:
            folders = sorted((e for e in entries if e.name.startswith(".") and _is_folder(e)), key=lambda e: e.name)
        for folder in folders:
            with os.scandir(folder.path) as entries:
                if any(has_image_suffix(entry.name) and not entry.name.startswith(".") for entry in entries):
                    yield folder.name
    except OSError:
        # It is only for a warning.
        return


def _walk(folder: Path, prefix: str, label: str, seen: set[tuple[int, int]]) -> Iterator[ImageFile]:
    status = folder.stat()
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return
    seen.add(identity)
    for entry in _list(folder):
        if _is_folder(entry):
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", label, seen)
        elif has_image_suffix(entry.name):
            try:
                stat = entry.stat()
            except OSError:
                # A dangling link: listed, so that it is counted among the images that could not be read.
                yield ImageFile(prefix + entry.name, label, 0, 0, 0)
                continue
            if entry.is_file():
                yield ImageFile(prefix + entry.name, label, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _list(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except NotADirectoryError as exc:
        packed = folder.suffix.lower() in ARCHIVE_SUFFIXES
        raise DataError(
            f"{folder} is not a folder",
            hint="unpack it, and name the resulting folder" if packed else LAYOUT_HINT,
        ) from exc
    except FileNotFoundError as exc:
        raise DataError(f"no such folder: {folder}", hint="check the path given to --data") from exc
    except OSError as exc:
        raise DataError(f"can't list {folder}: {exc.strerror or exc}", hint="check its permissions") from exc


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads back to itself.
        return False


def _label(entry: os.DirEntry[str]) -> str:
    try:
        entry.name.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise DataError(f"the class folder {os.fsencode(entry.path)!r} has a name that is not UTF-8",
                        hint="rename it: class names are stored and printed") from exc  # fmt: skip
    # macOS may store `é` as two characters: the same class must have one name everywhere.
    return unicodedata.normalize("NFC", entry.name)
