"""What a tar file's headers say, one member after the other: old tar, POSIX (pax) and GNU.

Python's tarfile takes damage in the middle for the end, and reads long headers whole, whatever size they claim. Here
the end must be there, and every header is bounded.

Source: POSIX.1-2017, pax: ustar interchange format and extended header; GNU tar 1.35 manual, "Basic Tar Format".
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from imgcls.images.archives.compressed import ByteStream
from imgcls.images.archives.members import ArchiveError

BLOCK_BYTES = tarfile.BLOCKSIZE
# A path of a thousand folders fits many times.
MAX_HEADER_BYTES = 1 << 20
# Behind the end stand zeros up to the size of a tape's record, and then perhaps another archive that `cat` has joined.
MAX_PADDING_BYTES = 1 << 20
ZEROS = bytes(BLOCK_BYTES)
EXTENDED = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
# Members of these types have no data, whatever size they claim.
WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)


class TarKind(Enum):
    """What a member is."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    SPARSE = "sparse file"
    SPECIAL = "device, pipe or other special file"


@dataclass(frozen=True, slots=True)
class TarHeader:
    """One member.

    Attributes:
        name: its path as stored; bytes outside UTF-8 as lone surrogates.
        kind: what it is.
        offset, size_bytes: where its data are.
    """

    name: str
    kind: TarKind
    offset: int
    size_bytes: int


def walk_tar(stream: ByteStream) -> Iterator[TarHeader]:
    """The members in their order; while one is in hand, the stream stands where its data begin.

    Raises:
        ArchiveError: the archive is torn or damaged, or no tar file.
    """
    long_name: str | None = None
    pax: dict[str, str] = {}
    has_end = False
    while True:
        start = stream.position
        block = stream.read(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            if has_end and not block.strip(b"\0"):
                return
            raise ArchiveError("it is empty" if start == 0 and not block else f"it ends at byte {stream.position:,}")
        if block == ZEROS:
            # `has_end` holds from the first zeros on: a lone block of them is what some programs write.
            has_end = True
            if not _skip_padding(stream):
                return
            continue
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as exc:
            if has_end:
                # Whatever stands behind the end is no archive.
                return
            raise ArchiveError(
                "it is no tar file" if start == 0 else f"the header at byte {start:,} is damaged"
            ) from exc
        has_end = False
        if info.size < 0:
            raise ArchiveError(f"the header at byte {start:,} claims a negative size")
        if info.type in EXTENDED:
            content = _read_extended(stream, info.size)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                long_name = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
            elif info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                pax = parse_pax(content)
            continue
        header = _header(stream, info, block, long_name, pax)
        long_name, pax = None, {}
        yield header
        end = header.offset + -(-header.size_bytes // BLOCK_BYTES) * BLOCK_BYTES
        left = end - stream.position
        if left > 0 and stream.skip(left) < left:
            # The last block may lack its padding, but nothing may stand in the place of the end.
            raise ArchiveError(f"it ends at byte {stream.position:,}, inside of a member")


def _header(
    stream: ByteStream, info: tarfile.TarInfo, block: bytes, long_name: str | None, pax: dict[str, str]
) -> TarHeader:
    name = pax.get("GNU.sparse.name") or pax.get("path") or long_name or info.name
    is_sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in pax)
    if info.type == tarfile.GNUTYPE_SPARSE:
        _skip_sparse_map(stream, block)
    size_bytes = 0 if info.type in WITHOUT_DATA else _number(pax.get("size"), info.size)
    if is_sparse:
        kind = TarKind.SPARSE
    elif info.type == tarfile.DIRTYPE or (info.type == tarfile.AREGTYPE and name.endswith("/")):
        kind = TarKind.FOLDER
    elif info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
        kind = TarKind.LINK
    elif info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
        kind = TarKind.FILE
    else:
        kind = TarKind.SPECIAL
    return TarHeader(name, kind, stream.position, size_bytes)


def parse_pax(content: bytes) -> dict[str, str]:
    """The records of an extended header: `27 path=some/long/name.jpg` and a line feed, its length in front.

    Raises:
        ArchiveError: a record isn't as long as it says.
    """
    values: dict[str, str] = {}
    position = 0
    while position < len(content) and content[position]:
        blank = content.find(b" ", position, position + 20)
        digits = content[position:blank] if blank > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        if not blank < end <= len(content) or content[end - 1 : end] != b"\n":
            raise ArchiveError("an extended header is damaged")
        key, _, value = content[blank + 1 : end - 1].partition(b"=")
        values[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        position = end
    return values


def _read_extended(stream: ByteStream, size_bytes: int) -> bytes:
    if size_bytes > MAX_HEADER_BYTES:
        raise ArchiveError(f"a name or extended header of {size_bytes:,} bytes is more than any path takes")
    content = stream.read(-(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES)
    if len(content) < size_bytes:
        raise ArchiveError(f"it ends at byte {stream.position:,}")
    return content[:size_bytes]


def _skip_sparse_map(stream: ByteStream, block: bytes) -> None:
    """Pass over the blocks that continue the map of an old GNU sparse file."""
    is_continued, num_bytes = block[482], 0
    while is_continued:
        block = stream.read(BLOCK_BYTES)
        num_bytes += BLOCK_BYTES
        if len(block) < BLOCK_BYTES or num_bytes > MAX_HEADER_BYTES:
            raise ArchiveError("the map of a sparse file is damaged")
        is_continued = block[504]


def _skip_padding(stream: ByteStream) -> bool:
    """Pass over the zeros behind an end; whether there may be more behind them."""
    begin = stream.position
    while stream.position - begin < MAX_PADDING_BYTES:
        position = stream.position
        block = stream.read(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            return False
        if block != ZEROS:
            stream.unread(block, position)
            return True
    return False


def _number(text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ArchiveError("an extended header gives a size that is no number")
    return int(text)
