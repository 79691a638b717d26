"""An object as a file: read in large ranges, the next one on its way while the last one is used."""

import io
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imgcls.images.object_storage.store import ObjectStore

# Large enough that a request's delay costs little, small enough to hold two of them.
RANGE_BYTES = 8 * 2**20


class RangedFile(io.RawIOBase):
    """An object's bytes, forwards or from anywhere; each range is a request of its own that is tried again if it fails.

    Args:
        store: where it is.
        url: its address.
        size_bytes: of it.
        range_bytes: of a request.
    """

    def __init__(self, store: "ObjectStore", url: str, size_bytes: int, *, range_bytes: int = RANGE_BYTES) -> None:
        super().__init__()
        self._store, self._url, self._size_bytes, self._range_bytes = store, url, size_bytes, range_bytes
        self._position = 0
        self._held: tuple[int, bytes] = (0, b"")
        self._next: tuple[int, Future[bytes]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="read ahead")

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read at least one byte, unless the end is reached.

        Raises:
            StorageError: the object can't be read.
        """
        if self._position >= self._size_bytes:
            return 0
        start, content = self._held
        if not start <= self._position < start + len(content):
            start, content = self._held = (self._position, self._fetch(self._position))
        offset = self._position - start
        count = min(len(buffer), len(content) - offset)
        buffer[:count] = content[offset : offset + count]
        self._position += count
        return count

    def _fetch(self, start: int) -> bytes:
        ahead, self._next = self._next, None
        content = ahead[1].result() if ahead is not None and ahead[0] == start else self._read(start)
        following = start + len(content)
        if content and following < self._size_bytes:
            self._next = (following, self._thread.submit(self._read, following))
        return content

    def _read(self, start: int) -> bytes:
        return self._store.read(self._url, start=start, end=min(start + self._range_bytes, self._size_bytes))

    def close(self) -> None:
        """Let go of what was read ahead."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        super().close()
