"""Addresses in object storage as inputs: objects, what lies below a prefix, patterns, archives."""

import io
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

from imgcls.errors import ImageError
from imgcls.images.archives.members import ArchiveError
from imgcls.images.archives.names import TAR_SUFFIXES, archive_suffix
from imgcls.images.archives.reading import ArchiveEntry, read_tar, read_zip
from imgcls.images.inputs.walking import WalkRules, has_image_suffix, system_name
from imgcls.images.object_storage.object_info import ObjectInfo
from imgcls.images.object_storage.ranged_file import RangedFile
from imgcls.images.object_storage.retries import StorageError
from imgcls.images.object_storage.store import object_store
from imgcls.images.object_storage.urls import StorageOptions, shown_url


class FoundObject(NamedTuple):
    """An object, a member of an archive, or why there is none.

    Attributes:
        url: of the object.
        version: size and time, where they are known.
        failure: of the object or of the listing as a whole.
        entry: of the archive that the object is.
    """

    url: str
    version: tuple[int, int] | None = None
    failure: ImageError | None = None
    entry: ArchiveEntry | None = None


def fetch_object(url: str, *, options: StorageOptions, max_bytes: int, time_limit_sec: float) -> bytes:
    """An object's bytes.

    Args:
        url: its address.
        options: how the store is reached.
        max_bytes: refuse more.
        time_limit_sec: for all tries.
    Raises:
        ImageError: it can't be fetched, or is too large.
    """
    try:
        content = object_store(url, options).read(url, end=max_bytes + 1, limit_sec=time_limit_sec)
    except StorageError as exc:
        raise ImageError(exc.kind, exc.reason) from exc
    if len(content) > max_bytes:
        raise ImageError("too_large", f"more than {max_bytes / 2**20:g} MiB")
    return content


def expand_object_url(
    url: str, rules: WalkRules, options: StorageOptions, *, max_bytes: int, has_patterns: bool
) -> Iterator[FoundObject]:
    """What an address stands for: itself, the images below it where it ends with /, those that match a pattern.

    Args:
        url: as typed.
        rules: what is taken below a prefix and of archives.
        options: how the store is reached.
        max_bytes: a member of an archive may have.
        has_patterns: whether `*`, `?` and `[` stand for other names.
    """
    if not url.endswith("/") and not (has_patterns and any(each in url for each in "*?[")):
        if rules.opens_archives and archive_suffix(url):
            yield from _archive(url, None, rules, options, max_bytes)
        else:
            yield FoundObject(url)
        return
    is_empty = True
    store = object_store(url, options)
    try:
        for found in store.list(url) if url.endswith("/") else store.match(url):
            if not _is_taken(found.url, url, rules):
                continue
            is_empty = False
            if rules.opens_archives and archive_suffix(found.url):
                yield from _archive(found.url, found, rules, options, max_bytes)
            else:
                yield FoundObject(found.url, (found.size_bytes, found.modified_ns))
    except StorageError as exc:
        yield FoundObject(url, failure=ImageError(exc.kind, f"can't list it: {exc.reason}"))
        return
    if is_empty and url.endswith("/"):
        rules.passed_over.empty.append(shown_url(url))
    elif is_empty:
        yield FoundObject(url, failure=ImageError("not_found", "no image matches the pattern"))


def _is_taken(url: str, asked: str, rules: WalkRules) -> bool:
    below = url[len(asked) :] if url.startswith(asked) else url.rpartition("/")[2]
    parts = below.split("/")
    for part in parts:
        if system := system_name(part):
            rules.passed_over.system[system] += 1
            return False
    if any(part.startswith(".") for part in parts):
        return False
    if archive_suffix(url) and archive_suffix(asked):
        return True
    if rules.takes_member(below, b""):
        return True
    if not has_image_suffix(below):
        rules.passed_over.suffixes[f".{parts[-1].rpartition('.')[2].lower()}" if "." in parts[-1] else ""] += 1
    return False


def _archive(
    url: str, found: ObjectInfo | None, rules: WalkRules, options: StorageOptions, max_bytes: int
) -> Iterator[FoundObject]:
    version: tuple[int, int] | None = None
    try:
        store = object_store(url, options)
        found = found or store.info(url)
        version = (found.size_bytes, found.modified_ns)
        with RangedFile(store, url, found.size_bytes) as ranged:
            file = cast(BinaryIO, io.BufferedReader(ranged, 1 << 20))
            if archive_suffix(url) in TAR_SUFFIXES:
                entries = read_tar(file, url, rules, max_bytes=max_bytes)
            else:
                entries = read_zip(file, rules, max_bytes=max_bytes, is_held=True)
            for entry in entries:
                yield FoundObject(url, (entry.size_bytes, version[1]), entry=entry)
    except StorageError as exc:
        yield FoundObject(url, failure=ImageError(exc.kind, exc.reason))
    except ArchiveError as exc:
        cause = exc.__cause__
        kind = cause.kind if isinstance(cause, StorageError) else "corrupt_image"
        yield FoundObject(url, failure=ImageError(kind, f"the archive can't be read on: {exc}"))
