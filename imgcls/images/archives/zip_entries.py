"""The entries of a zip file: by its directory, or, where its end is torn off, by the headers before each entry."""

import contextlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgcls.errors import ImageError
from imgcls.images.archives.members import ArchiveError, HeldBytes, Member, ZipEntry

# Local file header: signature, version, flags, method, time, date, CRC-32, sizes, lengths of name and extra field.
# Source: APPNOTE.TXT 6.3.10, section 4.3.7.
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
SIGNATURE = b"PK\3\4"
HAS_DESCRIPTOR = 0x08
IS_ENCRYPTED = 0x01
IS_UTF8 = 0x800
ZIP64 = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ZipFound:
    """An entry: its name as stored, its size, its bytes or why there are none."""

    name: str
    size_bytes: int
    member: Member | None
    failure: ImageError | None = None


def walk_zip(file: BinaryIO | Path, *, max_bytes: int, is_held: bool = False) -> Iterator[ZipFound]:
    """The files in the order of the directory, or, without one, of the archive; folders are left out.

    Args:
        file: the archive.
        max_bytes: of an entry that is held in memory, as in an archive without its directory.
        is_held: whether all are, because the file can't be read by several threads.
    Raises:
        ArchiveError: the archive is torn, or no zip file.
        OSError: it can't be read.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, struct.error) as exc:
        with file.open("rb") if isinstance(file, Path) else contextlib.nullcontext(file) as opened:
            yield from _walk_headers(opened, max_bytes, str(exc))
        return
    for info in archive.infolist():
        # `is_dir` fails for an empty name, which a damaged directory may hold.
        if not info.filename or info.filename.endswith("/"):
            continue
        mode = info.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            what = "a link inside of the archive, which is not followed" if stat.S_ISLNK(mode) else "a special file"
            yield ZipFound(info.filename, info.file_size, None, ImageError("not_an_image", what))
        elif is_held:
            yield _held(ZipEntry(archive, info), max_bytes)
        else:
            yield ZipFound(info.filename, info.file_size, ZipEntry(archive, info))


def _held(entry: ZipEntry, max_bytes: int) -> ZipFound:
    info = entry.info
    if info.file_size > max_bytes:
        return ZipFound(info.filename, info.file_size, None)
    try:
        return ZipFound(info.filename, info.file_size, HeldBytes(entry.read()))
    except ImageError as exc:
        return ZipFound(info.filename, info.file_size, None, exc)


def _walk_headers(file: BinaryIO, max_bytes: int, reason: str) -> Iterator[ZipFound]:
    """What can be had of an archive whose directory, which stands at its end, is missing."""
    count = 0
    file.seek(0)
    while True:
        head = file.read(LOCAL_HEADER.size)
        if len(head) < LOCAL_HEADER.size or head[:4] != SIGNATURE:
            break
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = LOCAL_HEADER.unpack(head)
        raw_name = file.read(name_length)
        file.seek(extra_length, 1)
        if len(raw_name) < name_length or flags & (HAS_DESCRIPTOR | IS_ENCRYPTED) or ZIP64 in (packed, size):
            break
        name = raw_name.decode("utf-8" if flags & IS_UTF8 else "cp437", "surrogateescape")
        if packed > max_bytes or size > max_bytes:
            yield ZipFound(name, size, None, ImageError("too_large", f"{size:,} bytes in the archive"))
            file.seek(packed, 1)
            continue
        content = file.read(packed)
        if len(content) < packed:
            break
        count += 1
        if not name.endswith("/"):
            yield _unpacked(name, content, method, size, crc)
    if count == 0:
        raise ArchiveError(f"it is no zip file ({reason})")
    raise ArchiveError(f"its directory is missing ({reason})")


def _unpacked(name: str, content: bytes, method: int, size: int, crc: int) -> ZipFound:
    if method == zipfile.ZIP_DEFLATED:
        decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
        with contextlib.suppress(zlib.error):
            content = decompressor.decompress(content, size + 1)
    if len(content) != size or zlib.crc32(content) != crc:
        return ZipFound(name, size, None, ImageError("corrupt_image", "damaged in the archive"))
    return ZipFound(name, size, HeldBytes(content))
