"""Threads that fetch URLs, so that none that decodes ever waits for a server."""

import queue
import threading
from collections.abc import Callable

from imgcls.errors import ImageError

# Servers answer in tenths of a second, most of which is waiting; a browser opens about as many connections.
MAX_DOWNLOADS = 16
# How often a thread whose image waits to be decoded looks whether the pool was closed.
POLL_SEC = 0.1

Fetched = bytes | ImageError
Download = tuple[str, Callable[[], None], Callable[[Fetched], None], threading.Event]


class DownloadPool:
    """Up to 16 downloads at once. The threads start with the first URLs: most runs have none.

    Args:
        fetch: turns a URL into bytes within its own limits; raises ImageError.
    """

    def __init__(self, fetch: Callable[[str], bytes]) -> None:
        self._fetch = fetch
        self._downloads: queue.SimpleQueue[Download | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._num_threads = 0
        self._is_closed = False

    def submit(
        self, url: str, on_start: Callable[[], None], on_end: Callable[[Fetched], None], used: threading.Event
    ) -> None:
        """Queue a download; returns at once.

        Args:
            url: the address.
            on_start: called when a thread takes it up.
            on_end: called with the bytes, or the reason why there are none.
            used: set once the bytes are needed no more; until then no other download takes the place of this one, so
                that the pool holds 16 encoded images at most.
        """
        self._downloads.put((url, on_start, on_end, used))
        with self._lock:
            if self._num_threads < MAX_DOWNLOADS:
                self._num_threads += 1
                threading.Thread(target=self._work, name="download", daemon=True).start()

    def close(self) -> None:
        """Let the threads end after the download that each has in hand."""
        self._is_closed = True
        for _ in range(self._num_threads):
            self._downloads.put(None)

    def _work(self) -> None:
        while (download := self._downloads.get()) is not None and not self._is_closed:
            url, on_start, on_end, used = download
            on_start()
            on_end(self._try_to_fetch(url))
            while not used.wait(POLL_SEC) and not self._is_closed:
                pass

    def _try_to_fetch(self, url: str) -> Fetched:
        try:
            return self._fetch(url)
        except ImageError as exc:
            return ImageError(exc.kind, str(exc))
        except MemoryError:
            return ImageError("too_large", "not enough memory to fetch it")
        except Exception as exc:
            # One odd address must not stop the others.
            return ImageError("download_failed", f"{type(exc).__name__}: {exc}")
