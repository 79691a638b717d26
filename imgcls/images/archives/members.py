"""Where a member's bytes are, until a thread that decodes asks for them."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile, ZipFile, ZipInfo

from imgcls.errors import ImageError


class ArchiveError(Exception):
    """An archive that can't be read on: torn, damaged, or none at all. The message says which, for people."""


class Member(Protocol):
    """One image inside an archive.

    Attributes:
        held_bytes: that it keeps in memory until it is read.
    """

    @property
    def held_bytes(self) -> int: ...

    def read(self) -> bytes:
        """Its content; asked for once.

        Raises:
            ImageError: it can't be read, or is damaged.
        """

    def start(self, count: int) -> bytes:
        """Its first bytes, by which a format is known; fewer where it is shorter or can't be read."""


@dataclass(frozen=True, slots=True)
class TarSpan:
    """A stretch of an uncompressed tar file.

    Attributes:
        path: of the archive.
        offset, size_bytes: where in it.
    """

    path: Path
    offset: int
    size_bytes: int

    @property
    def held_bytes(self) -> int:
        """Nothing."""
        return 0

    def read(self) -> bytes:
        """See `Member`."""
        content = self._read(self.size_bytes)
        if len(content) < self.size_bytes:
            raise ImageError("corrupt_image", f"the archive ends {self.size_bytes - len(content):,} bytes too early")
        return content

    def start(self, count: int) -> bytes:
        """See `Member`."""
        try:
            return self._read(min(count, self.size_bytes))
        except ImageError:
            return b""

    def _read(self, count: int) -> bytes:
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.offset)
                content = b""
                while len(content) < count and (block := file.read(count - len(content))):
                    content = content + block if content else block
                return content
        except FileNotFoundError as exc:
            raise ImageError("not_found", "the archive has gone") from exc
        except OSError as exc:
            raise ImageError("corrupt_image", f"can't read the archive: {exc.strerror or exc}") from exc


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """An entry of a zip file, which stays open as long as there are entries of it.

    Attributes:
        file: the archive; several threads may read it.
        info: which entry.
    """

    file: ZipFile
    info: ZipInfo

    @property
    def held_bytes(self) -> int:
        """Nothing."""
        return 0

    def read(self) -> bytes:
        """See `Member`; at most the size that the archive declares is unpacked."""
        content = self._read(self.info.file_size + 1)
        if len(content) != self.info.file_size:
            raise ImageError("corrupt_image", "the archive's entry has another size than declared")
        return content

    def start(self, count: int) -> bytes:
        """See `Member`."""
        try:
            return self._read(count)
        except ImageError:
            return b""

    def _read(self, count: int) -> bytes:
        try:
            with self.file.open(self.info) as opened:
                return opened.read(count)
        except NotImplementedError as exc:
            raise ImageError("corrupt_image", "compressed in a way that is not read here") from exc
        except RuntimeError as exc:
            raise ImageError("permission_denied", "encrypted in the archive") from exc
        except (BadZipFile, EOFError, zlib.error, ValueError) as exc:
            raise ImageError("corrupt_image", f"damaged in the archive: {exc}") from exc
        except OSError as exc:
            raise ImageError("corrupt_image", f"can't read the archive: {exc.strerror or exc}") from exc


class HeldBytes:
    """A member of an archive that is read as a stream: its bytes, until they are read."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content

    @property
    def held_bytes(self) -> int:
        """The content's length."""
        return len(self._content or b"")

    def read(self) -> bytes:
        """See `Member`; from then on nothing is held."""
        content, self._content = self._content, None
        if content is None:
            raise ImageError("corrupt_image", "read twice")
        return content

    def start(self, count: int) -> bytes:
        """See `Member`."""
        return (self._content or b"")[:count]
