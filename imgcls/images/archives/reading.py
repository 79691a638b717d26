"""An archive's images, one after the other: what is taken, what is refused, and what is said where it is torn."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgcls.errors import ImageError
from imgcls.images.archives.compressed import ByteStream, decompressing
from imgcls.images.archives.members import ArchiveError, HeldBytes, Member, TarSpan
from imgcls.images.archives.names import TAR_SUFFIXES, archive_suffix, parts_of
from imgcls.images.archives.tar_headers import TarHeader, TarKind, walk_tar
from imgcls.images.archives.zip_entries import walk_zip
from imgcls.images.inputs.walking import WalkRules, has_image_suffix, system_name

# Bytes by which formats are known; see `begins_like_image`.
PREFIX_BYTES = 16
# A member of a compressed archive that claims more isn't passed over: it would take minutes to unpack in vain.
MAX_SKIPPED_BYTES = 8 * 2**30


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """An image of an archive, or what can't be one.

    Attributes:
        name: its path inside, as stored; empty where the archive as a whole is meant.
        member: its bytes; None where there are none.
        size_bytes: of it.
        failure: why there are none.
    """

    name: str
    member: Member | None = None
    size_bytes: int = 0
    failure: ImageError | None = None


def read_archive(path: Path, rules: WalkRules, *, max_bytes: int) -> Iterator[ArchiveEntry]:
    """The images of an archive in its order. Nothing is unpacked to the disk, and no name in it is ever opened.

    Args:
        path: of the archive, a file that is there.
        rules: which members are taken; those passed over are counted.
        max_bytes: larger members are refused.
    Yields:
        Entries; last, where the archive is torn or damaged, one for the archive as a whole.
    """
    try:
        if archive_suffix(path.name) in TAR_SUFFIXES:
            with path.open("rb") as file:
                yield from read_tar(file, path.name, rules, max_bytes=max_bytes, path=path)
        else:
            yield from read_zip(path, rules, max_bytes=max_bytes)
    except ArchiveError as exc:
        yield ArchiveEntry("", failure=ImageError("corrupt_image", f"the archive can't be read on: {exc}"))
    except PermissionError:
        yield ArchiveEntry("", failure=ImageError("permission_denied", "permission denied"))
    except OSError as exc:
        reason = exc.strerror or str(exc)
        yield ArchiveEntry("", failure=ImageError("corrupt_image", f"the archive can't be read: {reason}"))


def read_zip(
    file: BinaryIO | Path, rules: WalkRules, *, max_bytes: int, is_held: bool = False
) -> Iterator[ArchiveEntry]:
    """The images of a zip file; see `read_archive` and `walk_zip`.

    Raises:
        ArchiveError: the archive is torn or damaged.
    """
    for found in walk_zip(file, max_bytes=max_bytes, is_held=is_held):
        yield from _taken(ArchiveEntry(found.name, found.member, found.size_bytes, found.failure), rules, max_bytes)


def read_tar(
    file: BinaryIO, name: str, rules: WalkRules, *, max_bytes: int, path: Path | None = None
) -> Iterator[ArchiveEntry]:
    """The images of a tar file; see `read_archive`.

    Args:
        file: at its beginning.
        name: whose suffix says how it is compressed.
        rules: which members are taken.
        max_bytes: larger members are refused.
        path: of a file whose members can be read again later; None where they must be held until then.
    Raises:
        ArchiveError: the archive is torn or damaged.
    """
    kind = TAR_SUFFIXES[archive_suffix(name)]
    # Members of a local tar that isn't compressed are read by the threads that decode them.
    span_path = path if path is not None and not kind else None
    with contextlib.ExitStack() as stack:
        opened = decompressing(file, kind)
        if opened is not file:
            stack.callback(_close, opened)
        stream = ByteStream(opened, size_bytes=path.stat().st_size if span_path and path else None)
        for header in walk_tar(stream):
            yield from _tar_entry(header, stream, rules, max_bytes, span_path)


def _tar_entry(
    header: TarHeader, stream: ByteStream, rules: WalkRules, max_bytes: int, path: Path | None
) -> Iterator[ArchiveEntry]:
    if header.kind is TarKind.FOLDER:
        return
    if header.kind is not TarKind.FILE:
        more = ", which is not followed" if header.kind is TarKind.LINK else ""
        failure = ImageError("not_an_image", f"a {header.kind.value} inside of the archive{more}")
        yield from _taken(ArchiveEntry(header.name, None, header.size_bytes, failure), rules, max_bytes)
        return
    if path is not None:
        span = TarSpan(path, header.offset, header.size_bytes)
        yield from _taken(ArchiveEntry(header.name, span, header.size_bytes), rules, max_bytes)
        return
    if header.size_bytes > max_bytes:
        yield from _taken(ArchiveEntry(header.name, None, header.size_bytes), rules, max_bytes)
        if header.size_bytes > MAX_SKIPPED_BYTES:
            raise ArchiveError(f"{header.name[:80]!r} claims {header.size_bytes:,} bytes")
        return
    if not rules.may_take_member(header.name):
        # Not even read.
        yield from _taken(ArchiveEntry(header.name, HeldBytes(b""), header.size_bytes), rules, max_bytes)
        return
    content = stream.read(header.size_bytes)
    if len(content) < header.size_bytes:
        raise ArchiveError(f"it ends at byte {stream.position:,}, inside of {header.name[:80]!r}")
    yield from _taken(ArchiveEntry(header.name, HeldBytes(content), header.size_bytes), rules, max_bytes)


def _taken(entry: ArchiveEntry, rules: WalkRules, max_bytes: int) -> Iterator[ArchiveEntry]:
    """The entry, if it is one that a walk through a folder would take."""
    parts = parts_of(entry.name)
    for part in parts:
        if system := system_name(part):
            rules.passed_over.system[system] += 1
            return
    # Hidden, but for what leads upwards, which names nothing here.
    if not parts or any(part.startswith(".") and part != ".." for part in parts):
        return
    start = entry.member.start(PREFIX_BYTES) if entry.member and rules.looks_inside else b""
    if not rules.takes_member(entry.name, start):
        if not has_image_suffix(entry.name):
            rules.passed_over.suffixes[Path(parts[-1]).suffix.lower()] += 1
    elif entry.failure is None and entry.size_bytes > max_bytes:
        message = f"{entry.size_bytes / 2**20:.0f} MiB in the archive, more than {max_bytes / 2**20:g}"
        yield ArchiveEntry(entry.name, None, entry.size_bytes, ImageError("too_large", message))
    else:
        yield entry


def _close(file: BinaryIO) -> None:
    with contextlib.suppress(Exception):
        file.close()
