"""From what the user typed to a lazy stream of inputs, in a stable order."""

import glob
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from imgcls.errors import DataError, ImageError, ImageErrorKind
from imgcls.host.urls import without_secrets
from imgcls.images.data_uris import decode_data_uri, is_data_uri

# What counts as an image inside a folder. A file that is named outright is always tried, whatever its suffix.
IMAGE_SUFFIXES = frozenset(
    "." + suffix
    for suffix in """
        apng avif bmp dds dib gif heic heif ico j2k jfif jp2 jpe jpeg jpg
        pbm pcx pgm png pnm ppm psd qoi sgi tga tif tiff webp
    """.split()  # noqa: SIM905 - a list of forty quoted words is harder to read
)
GLOB_CHARACTERS = frozenset("*?[")
STDIN = "-"
FILE_URI = "file://"


@dataclass(frozen=True, slots=True)
class Source:
    """One input.

    Attributes:
        name: how its record calls it; a path or a URL as given, but for passwords, and below a folder joined to the
            folder's; valid Unicode always.
        path: of a file, or None.
        url: `http://` or `https://`, or empty.
        content: an encoded image's bytes, or None.
        failure: why it can't even be tried, such as a folder that can't be listed, or None.
        is_old: whether it is wanted only where an earlier run has a record of it.
    """

    name: str
    path: Path | None = None
    url: str = ""
    content: bytes | None = None
    failure: ImageError | None = None
    is_old: bool = False


def iterate_sources(
    arguments: Iterable[str],
    *,
    stdin: BinaryIO | None = None,
    accept: Callable[[str], bool] | None = None,
    has_patterns: bool = True,
) -> Iterator[Source]:
    """Expand arguments one after the other: files, folders, glob patterns, URLs, `-` for an image on stdin.

    A path that doesn't exist is a source like any other: its record will say so. Folders are walked recursively, each
    one's files first and its sub-folders after, both sorted by name. A pattern gives its matches sorted by path; a
    folder that it matches is walked, unless the pattern holds `**`, which finds what lies below by itself.

    Args:
        arguments: as typed, or the lines of a list.
        stdin: where `-` reads an image's bytes.
        accept: a filter on names for what folders and patterns hold; by default the suffix must be an image's.
        has_patterns: whether `*`, `?` and `[` in the name of something that isn't there stand for other names.
    """
    wanted = accept or has_image_suffix
    for argument in arguments:
        if argument == STDIN:
            yield Source(STDIN, content=(stdin or standard_input()).read())
        elif is_url(argument):
            url = valid_unicode(argument)
            yield Source(without_secrets(url), url=url)
        elif is_data_uri(argument):
            yield _read_data_uri(argument)
        elif not argument:
            # As a path it would mean the current folder, which `"$UNSET"` in a script never does.
            yield Source("", failure=ImageError("not_found", "the name is empty"))
        else:
            yield from _expand_path(path_of(argument), wanted, has_patterns=has_patterns)


def _read_data_uri(uri: str) -> Source:
    name = valid_unicode(uri)
    try:
        return Source(name, content=decode_data_uri(uri))
    except ImageError as exc:
        return Source(name, failure=exc)


def standard_input() -> BinaryIO:
    """Stdin's bytes, unbuffered: a thread that waits for a buffered stdin makes the interpreter abort when it ends.

    Raises:
        DataError: stdin is closed.
    """
    if sys.stdin is None:
        raise DataError("stdin is closed", hint="name files, or pipe something in")
    raw: BinaryIO = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
    return raw


def _expand_path(path: Path, wanted: Callable[[str], bool], *, has_patterns: bool) -> Iterator[Source]:
    # os.path.isdir answers False where Path.is_dir raises, such as for a name that is too long.
    if os.path.isdir(path):  # noqa: PTH112
        yield from walk_folder(path, wanted)
    elif not has_patterns or GLOB_CHARACTERS.isdisjoint(str(path)) or os.path.lexists(path):
        yield Source(display_name(path), path=path)
    else:
        yield from _expand_pattern(path, wanted)


def _expand_pattern(pattern: Path, wanted: Callable[[str], bool]) -> Iterator[Source]:
    walks_folders = "**" not in pattern.parts
    found = False
    for match in sorted(glob.iglob(str(pattern), recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
        file = Path(match)
        if os.path.isdir(file):  # noqa: PTH112
            if walks_folders:
                found = True
                yield from walk_folder(file, wanted)
        elif wanted(match):
            found = True
            yield Source(display_name(file), path=file)
    if not found:
        yield Source(display_name(pattern), failure=ImageError("not_found", "no image matches the pattern"))


def walk_folder(folder: Path, wanted: Callable[[str], bool]) -> Iterator[Source]:
    """Files below a folder: its own sorted by name, then each sub-folder in turn; hidden ones left out.

    Only the names of one folder, and of the folders still to come, are held at a time. Links to folders are followed,
    except those that lead back to a folder above. A folder that can't be listed is a source that says so.

    Args:
        folder: where to begin.
        wanted: a filter on the files' paths.
    """
    waiting: list[tuple[Path, tuple[tuple[int, int], ...]]] = [(folder, ())]
    while waiting:
        here, above = waiting.pop()
        try:
            status = here.stat()
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                continue
            files, folders = _list_folder(here)
        except OSError as exc:
            # One that has gone since its parent was listed leaves nothing to report.
            if here == folder or not isinstance(exc, FileNotFoundError):
                yield Source(display_name(here), failure=_why_unlisted(exc))
            continue
        for name in files:
            file = here / name
            if wanted(str(file)):
                yield Source(display_name(file), path=file)
        waiting += ((here / name, (*above, identity)) for name in reversed(folders))


def _list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Names of a folder's files and of its sub-folders, each sorted."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
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


def has_image_suffix(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES  # noqa: PTH122 - called for every name of a folder


def is_url(text: str) -> bool:
    """Whether an argument is fetched over the network."""
    return text[:8].lower().startswith(("http://", "https://"))


def path_of(argument: str) -> Path:
    """The path that an argument or a record's `input` names; undoes `display_name`."""
    if not argument.startswith(FILE_URI):
        return Path(argument)
    host, slash, rest = argument[len(FILE_URI) :].partition("/")
    if host not in ("", "localhost"):
        return Path(argument)
    path = os.fsdecode(unquote_to_bytes((slash + rest).encode("utf-8", "surrogateescape")))
    # A drive's letter follows the slash: file:///C:/shots
    return Path(path[1:] if os.name == "nt" else path)


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


def valid_unicode(url: str) -> str:
    """A URL whose bytes outside UTF-8, which Python keeps as lone surrogates, are percent-escaped."""
    return re.sub("[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", url)
