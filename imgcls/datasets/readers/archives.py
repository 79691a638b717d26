"""Data sets in archives: tar and zip files of class folders, and WebDataset shards.

    pets.zip                    cat/1.jpg dog/1.jpg, or train/cat/1.jpg val/cat/2.jpg
    'train-{000..099}.tar'      000001.jpg 000001.cls, or 000001.jpg 000001.json
    shards/                     a folder of such archives: train-000.tar, val-000.tar

The label is the member's folder, or what its sample says beside it: `.cls` (a name or a number), or `label`, `class` or
`cls` in `.json`, where `labels` is a list of several.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgcls.datasets.readers.archive_images import ArchiveFile, ArchiveImages, MemberPlace
from imgcls.datasets.readers.decompressed import decompressed
from imgcls.datasets.readers.tables import SPLITS_BY_NAME, LabelTable
from imgcls.errors import DataError, ImageError
from imgcls.host.terminal_text import counted
from imgcls.images.archives.members import TarSpan, ZipEntry
from imgcls.images.archives.names import archive_suffix, expand_braces, has_braces, is_streamed, parts_of
from imgcls.images.archives.reading import ArchiveEntry, read_archive
from imgcls.images.inputs.walking import WalkRules, has_image_suffix

LABEL_SUFFIXES = (".cls", ".json")
LABEL_KEYS = ("label", "class", "cls")
# As much as a download, and much more than any label takes.
MAX_MEMBER_BYTES = 64 * 2**20
MAX_LABEL_BYTES = 2**20
LAYOUT_HINT = "expected CLASS/*.jpg in it, train/CLASS/*.jpg, or WebDataset samples: 000001.jpg beside 000001.cls"


@dataclass(frozen=True, slots=True)
class _Found:
    """An image, the folders that it lies in and its file's name, and what its sample tells of it; None for nothing."""

    place: MemberPlace
    parts: tuple[str, ...]
    told: tuple[str, ...] | None


def find_archives(spec: str) -> tuple[Path, ...]:
    """The archives that `--data` names: one, several in braces, or a folder of nothing else; empty for other data.

    Raises:
        DataError: one of several isn't there.
    """
    root = Path(spec).expanduser()
    if root.is_file():
        return (root,) if archive_suffix(root.name) else ()
    if root.is_dir():
        files = sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))
        archives = tuple(path for path in files if archive_suffix(path.name))
        # Beside images an archive is only where they came from.
        return () if any(has_image_suffix(path.name) for path in files) else archives
    if not has_braces(spec):
        return ()
    paths = tuple(Path(each).expanduser() for each in expand_braces(spec))
    if missing := [path for path in paths if not path.is_file()]:
        raise DataError(f"{counted(len(missing), 'archive')} of {len(paths):,} not there, such as {missing[0]}",
                        hint="check the pattern given to --data")  # fmt: skip
    return paths


def read_archives(spec: str, paths: Sequence[Path], *, multi_label: bool | None = None) -> LabelTable:
    """List the images of archives and their labels, without decoding any.

    Args:
        spec: as the user named them.
        paths: of the archives.
        multi_label: whether an image may have any number of labels; None where a sample tells a list of them.
    Returns:
        As a table would have them; images without a label are left out, with a warning.
    Raises:
        DataError: one can't be decompressed, or none holds an image with a label.
    """
    archives: list[ArchiveFile] = []
    found: list[_Found] = []
    warnings: list[str] = []
    tells_lists = False
    for number, path in enumerate(paths):
        status = path.stat()
        plain = decompressed(path) if is_streamed(path.name) else path
        archives.append(ArchiveFile(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, plain))
        reader = _Reader(number, path, plain)
        found += reader.images()
        warnings += reader.warnings
        tells_lists = tells_lists or reader.tells_lists
    if multi_label is False and tells_lists:
        raise DataError(f"{spec} has samples with several labels", hint="one label per image")
    depth = _common_depth([each.parts for each in found])
    # An archive that is named outright is the data set, whatever it is called.
    named = [_split_of_name(path) if len(paths) > 1 else "" for path in paths]
    labelled: list[tuple[_Found, str, tuple[str, ...]]] = []
    for each in found:
        split, labels = _judged(each, depth)
        if labels is not None:
            labelled.append((each, split or named[each.place.archive], labels))
    if not labelled:
        why = f" ({warnings[0]})" if warnings else ""
        raise DataError(f"{spec} holds {'images, but no labels' if found else f'no images{why}'}", hint=LAYOUT_HINT)
    warnings += _left_out(len(found) - len(labelled), "with neither a folder nor a label beside it")
    splits = {split for _each, split, _labels in labelled}
    if splits - {"", "train"}:
        whole = [each for each in labelled if each[1]]
        warnings += _left_out(len(labelled) - len(whole), "of no split, beside those of train, val or test,")
        labelled = whole
    else:
        labelled = [(each, "", labels) for each, _split, labels in labelled]
    images = ArchiveImages(archives, [each.place for each, _split, _labels in labelled])
    return LabelTable(
        images,
        tuple(labels for _each, _split, labels in labelled),
        tuple(split for _each, split, _labels in labelled) if splits - {"", "train"} else (),
        is_multi_label=tells_lists or bool(multi_label),
        names=tuple(images.short_name(index) for index in range(len(images))),
        warnings=tuple(warnings),
    )


class _Reader:
    """One archive: its images with what is told of them."""

    def __init__(self, number: int, path: Path, plain: Path) -> None:
        self._number, self._path, self._plain = number, path, plain
        self._zip_places: dict[int, int] = {}
        self.warnings: list[str] = []
        self.tells_lists = False

    def images(self) -> list[_Found]:
        """In the order of the archive."""
        places: list[MemberPlace] = []
        told: dict[str, tuple[str, ...]] = {}
        for entry in self._entries():
            suffix = Path(entry.name).suffix.lower()
            if suffix not in LABEL_SUFFIXES:
                places.append(self._place(entry))
            elif (labels := self._told(entry, suffix)) is not None:
                told[_key(entry.name)] = labels
        return [_Found(place, tuple(parts_of(place.name)), told.get(_key(place.name))) for place in places]

    def _entries(self) -> Iterator[ArchiveEntry]:
        rules = WalkRules(lambda name: has_image_suffix(name) or name.lower().endswith(LABEL_SUFFIXES))
        for entry in read_archive(self._plain, rules, max_bytes=MAX_MEMBER_BYTES):
            if entry.name:
                yield entry
                continue
            assert entry.failure is not None
            self.warnings.append(f"{self._path}: {entry.failure.message}; what comes after that is missing")

    def _place(self, entry: ArchiveEntry) -> MemberPlace:
        failure = (entry.failure.kind, entry.failure.message) if entry.failure is not None else None
        position = 0
        if isinstance(entry.member, TarSpan):
            position = entry.member.offset
        elif isinstance(entry.member, ZipEntry):
            if not self._zip_places:
                entries = entry.member.file.infolist()
                self._zip_places = {info.header_offset: place for place, info in enumerate(entries)}
            position = self._zip_places[entry.member.info.header_offset]
        elif failure is None:
            failure = ("corrupt_image", "the archive's directory is missing, so that it can't be read again")
        return MemberPlace(self._number, entry.name, position, entry.size_bytes, failure)

    def _told(self, entry: ArchiveEntry, suffix: str) -> tuple[str, ...] | None:
        """The labels that a sample tells; None where it tells none."""
        if entry.member is None or entry.size_bytes > MAX_LABEL_BYTES:
            return None
        with contextlib.suppress(ImageError, UnicodeDecodeError, ValueError, RecursionError):
            text = entry.member.read().decode("utf-8-sig").strip()
            if suffix == ".cls":
                return (text,) if text else None
            values: Any = json.loads(text)
            if not isinstance(values, dict):
                return None
            if isinstance(several := values.get("labels"), list):
                self.tells_lists = True
                return tuple(sorted({str(each) for each in several}))
            return next((one for key in LABEL_KEYS if (one := _one(values.get(key))) is not None), None)
        return None


def _judged(found: _Found, depth: int) -> tuple[str, tuple[str, ...] | None]:
    """The split of an image by its folders, and its labels; None where nothing tells them."""
    folders = found.parts[depth:-1]
    split = SPLITS_BY_NAME.get(folders[0].lower(), "") if folders else ""
    # A folder called train that holds images itself is a class of that name, as among plain folders.
    if split and len(folders) == 1 and found.told is None:
        split = ""
    if split:
        folders = folders[1:]
    return split, found.told if found.told is not None else folders[:1] or None


def _left_out(count: int, what: str) -> list[str]:
    return [f"{counted(count, 'image')} {what} {'is' if count == 1 else 'are'} left out"] if count else []


def _one(value: object) -> tuple[str, ...] | None:
    return (str(value),) if isinstance(value, str | int) and not isinstance(value, bool) and str(value) else None


def _key(name: str) -> str:
    """What the files of one WebDataset sample share: the path up to the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def _common_depth(paths: Sequence[Sequence[str]]) -> int:
    """How many folders all members lie in that say nothing: `pets/` of pets/cat/1.jpg and pets/dog/1.jpg."""
    depth = 0
    while paths and all(len(parts) > depth + 2 for parts in paths):
        name = paths[0][depth]
        if name.lower() in SPLITS_BY_NAME or any(parts[depth] != name for parts in paths):
            break
        depth += 1
    return depth


def _split_of_name(path: Path) -> str:
    """The split that an archive's name or folder tells: train-000.tar, val.zip, test/000.tar; empty for none."""
    words = "".join(char if char.isalnum() else " " for char in path.name.lower()).split()
    for word in (*words, path.absolute().parent.name.lower()):
        if word in SPLITS_BY_NAME:
            return SPLITS_BY_NAME[word]
    return ""
