"""A time limit for everything that is done over a network, however slowly the other side answers."""

import contextlib
import socket
import threading
import time


class Deadline:
    """A point in time at which every connection opened under it is cut, wherever it is blocked.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "Deadline":
        self._timer.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._timer.cancel()
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    @property
    def has_passed(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end

    @property
    def remaining_sec(self) -> float:
        """Seconds that are left, never negative."""
        return max(self._end - time.monotonic(), 0.0)

    def watch(self, connection: socket.socket) -> None:
        """End a connection with the time."""
        # A second handle on it: the first is closed, or handed on, while the answer is still being read.
        with self._lock:
            self._sockets.append(socket.fromfd(connection.fileno(), connection.family, connection.type))
        if self.has_passed:
            self._cut()

    def _cut(self) -> None:
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
