"""Compressed archives as streams of the bytes inside them."""

import bz2
import gzip
import importlib.util
import lzma
import sys
import zlib
from typing import BinaryIO, cast

from imgcls.errors import UsageError
from imgcls.images.archives.members import ArchiveError

# What the decompressors raise for damaged and torn streams; pyarrow's errors are children of ValueError and OSError.
FAILURES = (EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)


def decompressing(file: BinaryIO, kind: str) -> BinaryIO:
    """A file that gives what is inside of a compressed one; reading raises one of `FAILURES` where that is damaged.

    Args:
        file: compressed; the caller closes it.
        kind: `gz`, `bz2`, `xz` or `zst`; empty gives the file itself.
    Raises:
        UsageError: a package is missing.
    """
    match kind:
        case "":
            return file
        case "gz":
            return cast(BinaryIO, gzip.GzipFile(fileobj=file, mode="rb"))
        case "bz2":
            return cast(BinaryIO, bz2.BZ2File(file, "rb"))
        case "xz":
            return cast(BinaryIO, lzma.LZMAFile(file, "rb"))
    if sys.version_info >= (3, 14):
        from compression import zstd

        return cast(BinaryIO, zstd.ZstdFile(file, "rb"))
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "reading .tar.zst needs pyarrow (or Python 3.14), which is not installed",
            hint="pip install 'imgcls[parquet]'",
        )
    import pyarrow as pa

    return cast(BinaryIO, pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd"))


class ByteStream:
    """A file that is read forwards only, exactly as much as is asked for.

    Args:
        file: at its beginning.
        size_bytes: of it where it can seek, so that what isn't wanted costs nothing; None for a stream.
    """

    def __init__(self, file: BinaryIO, *, size_bytes: int | None = None) -> None:
        self._file = file
        self._size_bytes = size_bytes
        self._pushed = b""
        self.position = 0

    def unread(self, content: bytes, position: int) -> None:
        """Take back what was read last, from `position` on: the next `read` gives it again."""
        self._pushed, self.position = content, position

    def read(self, count: int) -> bytes:
        """So many bytes; fewer at the end.

        Raises:
            ArchiveError: the stream is damaged or torn.
        """
        blocks = [self._pushed] if self._pushed else []
        missing = count - len(self._pushed)
        self._pushed = b""
        while missing > 0:
            try:
                block = self._file.read(min(missing, 1 << 20))
            except FAILURES as exc:
                raise ArchiveError(f"its data end or are damaged: {_reason(exc)}") from exc
            if not block:
                break
            blocks.append(block)
            missing -= len(block)
        self.position += count - missing
        return blocks[0] if len(blocks) == 1 else b"".join(blocks)

    def skip(self, count: int) -> int:
        """Pass over so many bytes; gives how many there were."""
        if self._size_bytes is not None:
            there = max(min(count, self._size_bytes - self.position), 0)
            self._file.seek(self.position + there)
            self.position += there
            return there
        skipped = 0
        while skipped < count and (block := self.read(min(count - skipped, 1 << 20))):
            skipped += len(block)
        return skipped


def _reason(exc: BaseException) -> str:
    return " ".join((getattr(exc, "strerror", None) or str(exc)).split()) or type(exc).__name__
