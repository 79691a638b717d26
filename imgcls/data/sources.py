"""From what the user typed to a lazy stream of inputs, in a stable order."""

import glob
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from imgcls.errors import DataError, UsageError

# What counts as a picture inside a folder. A file that is named outright is always tried, whatever its suffix.
IMAGE_SUFFIXES = frozenset(
    "." + suffix
    for suffix in """
        apng avif bmp dds dib gif heic heif ico j2k jfif jp2 jpe jpeg jpg
        pbm pcx pgm png pnm ppm psd qoi sgi tga tif tiff webp
    """.split()  # noqa: SIM905 - a list of forty quoted words is harder to read
)
GLOB_CHARACTERS = frozenset("*?[")
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Source:
    """One input.

    Attributes:
        name: how its record calls it; a path as given, below a folder joined to the folder's; valid Unicode always.
        path: of a file, or None.
        url: `http://` or `https://`, or empty.
        content: an encoded picture's bytes, or None.
    """

    name: str
    path: Path | None = None
    url: str = ""
    content: bytes | None = None


def iterate_sources(
    arguments: Iterable[str],
    *,
    stdin: BinaryIO | None = None,
    accept: Callable[[str], bool] | None = None,
) -> Iterator[Source]:
    """Expand arguments one after the other: files, folders, glob patterns, URLs, `-` for a picture on stdin.

    A path that doesn't exist is a source like any other: its record will say so. Folders are walked recursively, each
    one's files first and its sub-folders after, both sorted; links to folders are followed once.

    Args:
        arguments: as typed, or the lines of a list.
        stdin: where `-` reads a picture's bytes.
        accept: a filter on names for what folders and patterns hold; by default the suffix must be a picture's.
    """
    wanted = accept or has_image_suffix
    for argument in arguments:
        if argument == STDIN:
            yield Source(STDIN, content=(stdin or sys.stdin.buffer).read())
        elif is_url(argument):
            yield Source(argument, url=argument)
        else:
            yield from _expand_path(path_of(argument), wanted)


def _expand_path(path: Path, wanted: Callable[[str], bool]) -> Iterator[Source]:
    if path.is_dir():
        for file in walk_folder(path):
            if wanted(str(file)):
                yield Source(display_name(file), path=file)
    elif GLOB_CHARACTERS.isdisjoint(str(path)) or os.path.lexists(path):
        yield Source(display_name(path), path=path)
    else:
        found = False
        for match in sorted(glob.iglob(str(path), recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
            file = Path(match)
            if file.is_dir() or wanted(match):
                found = True
                yield from _expand_path(file, wanted)
        if not found:
            yield Source(display_name(path), path=path)


def walk_folder(folder: Path) -> Iterator[Path]:
    """Files below a folder: its own sorted by name, then each sub-folder in turn; hidden ones left out.

    Only one folder's names are held at a time, and a link back to a folder above is not followed.

    Raises:
        DataError: the folder itself can't be listed; one below it that can't be is passed over.
    """
    try:
        yield from _walk(folder, ())
    except OSError as exc:
        raise DataError(f"can't list {display_name(folder)}: {exc.strerror}", hint="check its permissions") from exc


def _walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                (folders if _is_folder(entry) else files).append(entry.name)
    for name in sorted(files):
        yield folder / name
    for name in sorted(folders):
        try:
            yield from _walk(folder / name, (*above, here))
        except OSError:
            continue


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def has_image_suffix(name: str) -> bool:
    """Whether a file's name ends like a picture's."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - called for every name of a folder


def is_url(text: str) -> bool:
    """Whether an argument is fetched over the network."""
    return text[:8].lower().startswith(("http://", "https://"))


def path_of(argument: str) -> Path:
    """The path that an argument or a record's `input` names; undoes `display_name`."""
    if argument.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(urlsplit(argument).path)))
    return Path(argument)


def display_name(path: Path) -> str:
    """A path as records show it: itself, or a `file://` URI where its bytes aren't UTF-8.

    A URI because any URL parser gives the bytes back, no real path is mistaken for one, and imgcls takes it as input.
    """
    text = str(path)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return path.absolute().as_uri()
    return text


def read_list(source: str, *, nul: bool = False, stdin: BinaryIO | None = None) -> Iterator[str]:
    """Yield the entries of a list of inputs as they arrive, one a line; empty ones are passed over.

    Args:
        source: a file, or `-` for stdin.
        nul: entries end with a NUL byte instead of a line feed, as `find -print0` writes them.
        stdin: where `-` reads.
    Raises:
        DataError: the list can't be read.
    """
    if source == STDIN:
        yield from _entries(stdin or sys.stdin.buffer, nul=nul)
        return
    try:
        with Path(source).open("rb") as file:
            yield from _entries(file, nul=nul)
    except OSError as exc:
        raise DataError(f"can't read the list {source}: {exc.strerror}", hint="check the path") from exc


def _entries(file: BinaryIO, *, nul: bool) -> Iterator[str]:
    if not nul:
        for line in iter(file.readline, b""):
            entry = line.rstrip(b"\r\n")
            if entry:
                yield os.fsdecode(entry)
        return
    rest = b""
    # read1 returns what is there instead of waiting for a full block, so that a slow writer is answered at once.
    read = getattr(file, "read1", file.read)
    while block := read(65536):
        *whole, rest = (rest + block).split(b"\0")
        yield from (os.fsdecode(entry) for entry in whole if entry)
    if rest:
        yield os.fsdecode(rest)


def check_stdin_use(arguments: Iterable[str], files_from: str | None) -> None:
    """Refuse two readers of one stdin.

    Raises:
        UsageError: stdin is asked for twice.
    """
    readers = sum(argument == STDIN for argument in arguments) + (files_from == STDIN)
    if readers > 1:
        raise UsageError("stdin can be read only once", hint="use '-' or '--files-from -', not both")
