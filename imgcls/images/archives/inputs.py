"""An archive's members as inputs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imgcls.errors import ImageError
from imgcls.images.archives.names import SEPARATOR, member_name
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.walking import WalkRules

if TYPE_CHECKING:
    from imgcls.images.archives.reading import ArchiveEntry


def archive_sources(name: str, path: Path, rules: WalkRules, max_member_bytes: int) -> Iterator[Source]:
    """The images of an archive, as they come in it.

    Args:
        name: what records call the archive.
        path: of it.
        rules: which members are taken.
        max_member_bytes: a member may have.
    """
    # Few runs have archives, and tarfile and zipfile take a twentieth of a small run's time.
    from imgcls.images.archives.reading import read_archive

    modified_ns = path.stat().st_mtime_ns
    is_empty = True
    for entry in read_archive(path, rules, max_bytes=max_member_bytes):
        is_empty = False
        yield member_source(name, entry, modified_ns)
    if is_empty:
        rules.passed_over.empty.append(name)


def member_source(archive: str, entry: "ArchiveEntry", modified_ns: int) -> Source:
    """One member as an input, or why the archive can't be read.

    Args:
        archive: what records call it.
        entry: of the archive; without a name where the archive itself is at fault.
        modified_ns: when the archive was written, nanoseconds since 1970.
    """
    if not entry.name:
        return Source(archive, failure=entry.failure)
    version = None if entry.failure else (entry.size_bytes, modified_ns)
    name = member_name(archive, entry.name)
    return Source(name, member=entry.member, version=version, failure=entry.failure)


def find_member(name: str, path: Path, wanted: str, max_member_bytes: int) -> Source:
    """One member that is named outright, whatever its suffix."""
    from imgcls.images.archives.reading import read_archive

    full_name = f"{name}{SEPARATOR}{wanted}"
    modified_ns = path.stat().st_mtime_ns
    rules = WalkRules(lambda member: member_name(name, member) == full_name)
    for entry in read_archive(path, rules, max_bytes=max_member_bytes):
        if member_name(name, entry.name) == full_name or not entry.name:
            found = member_source(name, entry, modified_ns)
            return found if entry.name else Source(full_name, failure=entry.failure)
    return Source(full_name, failure=ImageError("not_found", "no such member in the archive"))
