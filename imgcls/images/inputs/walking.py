"""Folders and patterns of file names: which files they stand for, and what is passed over."""

import fnmatch
import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from imgcls.errors import ImageError, ImageErrorKind

# What counts as an image inside a folder. A file that is named outright is always tried, whatever its suffix.
IMAGE_SUFFIXES = frozenset(
    "." + suffix
    for suffix in """
        apng avif bmp dds dib gif heic heics heif heifs hif ico j2c j2k jfif jp2 jpc jpe jpeg jpf jpg jpx jxl
        mpo pbm pcx pfm pgm png pnm ppm psd qoi sgi tga tif tiff webp
    """.split()  # noqa: SIM905 - a list of forty quoted words is harder to read
)
# What systems put beside people's images: Synology's and QNAP's thumbnails and bins, macOS's archives and second halves
# of files, Windows's thumbnails. Compared in lower case.
SYSTEM_NAMES = ("@eadir", "#recycle", "@recycle", "$recycle.bin", ".trash*", "__macosx", "._*", "thumbs.db")


@dataclass
class PassedOver:
    """What a walk didn't take, for whoever wonders.

    Attributes:
        system: files and folders of the system's own, by name.
        suffixes: other files that are no images by their suffix, by suffix.
        empty: folders, as they were named, that gave nothing.
    """

    system: Counter[str] = field(default_factory=Counter)
    suffixes: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """One clause for people: `3 @eaDir, 12 ._*`; empty where there was nothing of the system's."""
        return ", ".join(f"{count:,} {name}" for name, count in self.system.most_common())


@dataclass(frozen=True, slots=True)
class WalkRules:
    """What of a folder is taken.

    Attributes:
        accept: a filter on the paths of files.
        enters: a filter on the paths of folders.
        passed_over: counts what isn't taken.
        opens_archives: whether an archive stands for its members; else it is one input.
        accept_start: a filter on the names of an archive's members and their first bytes; None where `accept` judges
            them, by their names.
    """

    accept: Callable[[str], bool]
    enters: Callable[[str], bool] = lambda _path: True
    passed_over: PassedOver = field(default_factory=PassedOver)
    accept_start: Callable[[str, bytes], bool] | None = None
    opens_archives: bool = True

    @property
    def looks_inside(self) -> bool:
        """Whether a member's first bytes matter."""
        return self.accept_start is not None

    def may_take_member(self, name: str) -> bool:
        """Whether a member has to be looked at."""
        return self.accept_start is not None or self.takes_member(name, b"")

    def takes_member(self, name: str, start: bytes) -> bool:
        """Whether a member of an archive is taken.

        Args:
            name: its path inside.
            start: its first bytes, where `looks_inside`.
        """
        if not all(self.enters(str(folder)) for folder in PurePosixPath(name).parents if folder.name):
            return False
        return self.accept(name) if self.accept_start is None else self.accept_start(name, start)


class Found(NamedTuple):
    """A file, or a folder that can't be listed.

    Attributes:
        path: of it.
        names: of the folders and of the file itself below where the walk began.
        failure: why a folder can't be listed, or None.
    """

    path: Path
    names: tuple[str, ...]
    failure: ImageError | None = None


def walk_folder(folder: Path, rules: WalkRules) -> Iterator[Found]:
    """Files below a folder: its own sorted by name, then each sub-folder in turn; hidden ones left out.

    Only the names of one folder, and of the folders still to come, are held at a time. Links to folders are followed,
    and no folder is walked twice, however many links lead to it. A folder that can't be listed is found as such.

    Args:
        folder: where to begin.
        rules: what to take.
    """
    waiting: list[tuple[str, ...]] = [()]
    seen: set[tuple[int, int]] = set()
    while waiting:
        names = waiting.pop()
        here = folder.joinpath(*names)
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            files, folders = _list_folder(here, rules.passed_over)
        except OSError as exc:
            # One that has gone since its parent was listed leaves nothing to report.
            if not names or not isinstance(exc, FileNotFoundError):
                yield Found(here, names, _why_unlisted(exc))
            continue
        for name in files:
            path = here / name
            if rules.accept(str(path)):
                yield Found(path, (*names, name))
            elif not has_image_suffix(name):
                rules.passed_over.suffixes[Path(name).suffix.lower()] += 1
        waiting += ((*names, name) for name in reversed(folders) if rules.enters(str(here / name)))


def match_pattern(pattern: str, rules: WalkRules) -> Iterator[str]:
    """Files and folders whose path matches a pattern, sorted, but for those that a walk would pass over.

    Args:
        pattern: with `*`, `?`, `[...]` and `**`.
        rules: for folders on the way; files are the caller's to judge.
    """
    literal = set(Path(pattern).parts)
    for match in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
        path = Path(match)
        # What the pattern names outright is meant.
        found = [index for index, part in enumerate(path.parts) if part not in literal]
        system = next((name for index in found if (name := system_name(path.parts[index]))), "")
        if system:
            rules.passed_over.system[system] += 1
        elif all(rules.enters(str(Path(*path.parts[: index + 1]))) for index in found[:-1]):
            yield match


def has_image_suffix(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - called for every name of a folder


def system_name(name: str) -> str:
    """What the system's own files and folders of this name are called together; empty for anybody else's."""
    lower = name.lower()
    for pattern in SYSTEM_NAMES:
        if fnmatch.fnmatchcase(lower, pattern):
            return pattern if "*" in pattern else name
    return ""


def _list_folder(folder: Path, passed_over: PassedOver) -> tuple[list[str], list[str]]:
    """Names of a folder's files and of its sub-folders, each sorted."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if system := system_name(entry.name):
                passed_over.system[system] += 1
            elif not entry.name.startswith("."):
                (folders if _is_folder(entry) else files).append(entry.name)
    return sorted(files), sorted(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _why_unlisted(exc: OSError) -> ImageError:
    kind: ImageErrorKind = "permission_denied" if isinstance(exc, PermissionError) else "not_found"
    return ImageError(kind, f"can't list the folder: {exc.strerror or exc}")
