"""From what the user typed to a lazy stream of inputs, in a stable order."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from imgcls.errors import ImageError
from imgcls.host.http.urls import without_secrets
from imgcls.images.archives.inputs import archive_sources, find_member, member_source
from imgcls.images.archives.names import archive_suffix, expand_braces, has_braces, split_member
from imgcls.images.inputs.data_uris import decode_data_uri, is_data_uri
from imgcls.images.inputs.names import (
    FILE_URI,
    display_name,
    given_name,
    has_surrogates,
    is_url,
    path_of,
    valid_unicode,
)
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.stdin import STDIN, read_stdin, standard_input
from imgcls.images.inputs.walking import Found, WalkRules, has_image_suffix, match_pattern, walk_folder
from imgcls.images.object_storage.urls import StorageOptions, is_object_url, shown_url

GLOB_CHARACTERS = frozenset("*?[")
# Where nobody says how large a member of an archive may be: as much as a download.
MAX_MEMBER_BYTES = 64 * 2**20


def iterate_sources(
    arguments: Iterable[str],
    *,
    stdin: BinaryIO | None = None,
    rules: WalkRules | None = None,
    has_patterns: bool = True,
    max_stdin_bytes: int | None = None,
    storage: StorageOptions | None = None,
) -> Iterator[Source]:
    """Expand arguments one after the other: files, folders, glob patterns, URLs, `-` for an image on stdin.

    A path that doesn't exist is a source like any other: its record will say so. Folders are walked recursively, each
    one's files first and its sub-folders after, both sorted by name. A pattern gives its matches sorted by path; a
    folder that it matches is walked, unless the pattern holds `**`, which finds what lies below by itself.

    Args:
        arguments: as typed, or the lines of a list.
        stdin: where `-` reads an image's bytes.
        rules: what folders and patterns hold; by default the suffix must be an image's.
        has_patterns: whether `*`, `?` and `[` in the name of something that isn't there stand for other names.
        max_stdin_bytes: stdin may give, and a member of an archive may have; None for any number.
        storage: how object storage is reached; None as its own tools do.
    """
    rules = rules or WalkRules(has_image_suffix)
    max_member_bytes = MAX_MEMBER_BYTES if max_stdin_bytes is None else max_stdin_bytes
    for argument in arguments:
        if argument == STDIN:
            yield read_stdin(stdin or standard_input(), max_stdin_bytes)
        elif is_object_url(argument):
            yield from _expand_objects(
                argument, rules, storage or StorageOptions(), max_member_bytes, has_patterns=has_patterns
            )
        elif is_url(argument):
            url = valid_unicode(argument)
            yield Source(without_secrets(url), url=url)
        elif is_data_uri(argument):
            yield _read_data_uri(argument)
        elif not argument:
            # As a path it would mean the current folder, which `"$UNSET"` in a script never does.
            yield Source("", failure=ImageError("not_found", "the name is empty"))
        else:
            yield from _expand_path(argument, rules, max_member_bytes, has_patterns=has_patterns)


def _expand_objects(
    argument: str, rules: WalkRules, storage: StorageOptions, max_member_bytes: int, *, has_patterns: bool
) -> Iterator[Source]:
    # fsspec takes a while to import.
    from imgcls.images.object_storage.inputs import expand_object_url

    for url in expand_braces(valid_unicode(argument)) if has_patterns else (valid_unicode(argument),):
        for found in expand_object_url(url, rules, storage, max_bytes=max_member_bytes, has_patterns=has_patterns):
            name = shown_url(found.url)
            if found.entry is not None:
                yield member_source(name, found.entry, found.version[1] if found.version else 0)
            elif found.failure is not None:
                yield Source(name, failure=found.failure)
            else:
                yield Source(name, url=found.url, version=found.version)


def _read_data_uri(uri: str) -> Source:
    name = valid_unicode(uri)
    try:
        return Source(name, content=decode_data_uri(uri))
    except ImageError as exc:
        return Source(name, failure=exc)


def _expand_path(argument: str, rules: WalkRules, max_member_bytes: int, *, has_patterns: bool) -> Iterator[Source]:
    path = path_of(argument)
    # os.path.isdir answers False where Path.is_dir raises, such as for a name that is too long.
    if os.path.isdir(path):  # noqa: PTH112
        yield from _expand_folder(argument, path, rules, max_member_bytes)
    elif os.path.lexists(path):
        yield from _expand_file(given_name(argument), path, rules, max_member_bytes)
    elif (split := split_member(argument)) and os.path.isfile(archive := path_of(split[0])):  # noqa: PTH113
        yield find_member(given_name(split[0]), archive, split[1], max_member_bytes)
    elif has_patterns and has_braces(argument):
        for each in expand_braces(argument):
            yield from _expand_path(each, rules, max_member_bytes, has_patterns=True)
    elif not has_patterns or GLOB_CHARACTERS.isdisjoint(str(path)):
        yield Source(given_name(argument), path=path)
    else:
        yield from _expand_pattern(argument, path, rules, max_member_bytes)


def expand_archive(
    source: Source, rules: WalkRules, *, storage: StorageOptions | None = None, max_member_bytes: int | None = None
) -> Iterator[Source]:
    """The images of an archive that was taken as one input, where `rules.opens_archives` is off.

    Args:
        source: a file or an address.
        rules: which members are taken.
        storage: how object storage is reached.
        max_member_bytes: a member may have.
    """
    most = MAX_MEMBER_BYTES if max_member_bytes is None else max_member_bytes
    if source.url:
        yield from _expand_objects(source.url, rules, storage or StorageOptions(), most, has_patterns=False)
    elif source.path is not None:
        yield from _expand_file(source.name, source.path, rules, most)


def _expand_file(name: str, path: Path, rules: WalkRules, max_member_bytes: int) -> Iterator[Source]:
    """The file itself, or the images of an archive."""
    # os.path.isfile answers False where Path.is_file raises.
    if rules.opens_archives and archive_suffix(path.name) and os.path.isfile(path):  # noqa: PTH113
        yield from archive_sources(name, path, rules, max_member_bytes)
    else:
        yield Source(name, path=path)


def _expand_folder(name: str, folder: Path, rules: WalkRules, max_member_bytes: int) -> Iterator[Source]:
    is_empty = True
    for found in walk_folder(folder, rules):
        is_empty = False
        if found.failure:
            yield Source(joined_name(name, found), failure=found.failure)
        else:
            yield from _expand_file(joined_name(name, found), found.path, rules, max_member_bytes)
    if is_empty:
        rules.passed_over.empty.append(given_name(name))


def _expand_pattern(argument: str, path: Path, rules: WalkRules, max_member_bytes: int) -> Iterator[Source]:
    # A URI's percent signs are names' characters once it is decoded.
    pattern = str(path) if argument.startswith(FILE_URI) else argument
    walks_folders = "**" not in path.parts
    names_archives = bool(archive_suffix(path.name))
    found = False
    for match in match_pattern(pattern, rules):
        file = Path(match)
        if os.path.isdir(file):  # noqa: PTH112
            if walks_folders and rules.enters(str(file)):
                found = True
                yield from _expand_folder(match, file, rules, max_member_bytes)
        elif rules.accept(str(file)) or (names_archives and rules.enters(str(file))):
            found = True
            yield from _expand_file(given_name(match), file, rules, max_member_bytes)
    if not found:
        yield Source(given_name(argument), failure=ImageError("not_found", "no image matches the pattern"))


def joined_name(folder: str, found: Found) -> str:
    """How a record calls a file below a folder: the folder as it was typed, and the names below it."""
    if has_surrogates(folder) or any(map(has_surrogates, found.names)):
        return display_name(found.path)
    if folder.startswith(FILE_URI):
        return "/".join((folder.rstrip("/"), *map(quote, found.names)))
    return os.path.join(folder, *found.names)  # noqa: PTH118 - Path would take `./` off
