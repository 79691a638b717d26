"""Opening an HTTP address so that no server can keep us longer than we allow, nor lead us off HTTP.

urllib gives certificates, proxies and redirects; what it lacks is a time limit for the whole answer. Its timeout counts
from one received byte to the next, so that a server which drips can hold a program for days.
"""

import contextlib
import http.client
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from imgcls._version import __version__

# Characters that stay as they are in a path or query: reserved ones, and the sign of those already escaped.
SAFE_IN_URL = "%/:=&?~+!$,;'@()*[]"


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

    @property
    def has_passed(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._end

    @property
    def remaining_sec(self) -> float:
        """Seconds that are left, never negative."""
        return max(self._end - time.monotonic(), 0.0)

    def connect(self, *args: Any, **kwargs: Any) -> socket.socket:
        """Like `socket.create_connection`, for a connection that ends with the time."""
        connection = socket.create_connection(*args, **kwargs)
        # A second handle on the same connection: urllib closes its own, or hands it to TLS, on the way.
        with self._lock:
            self._sockets.append(connection.dup())
        if self.has_passed:
            self._cut()
        return connection

    def release(self) -> None:
        """Let go of the connections that are done."""
        with self._lock:
            for connection in self._sockets:
                connection.close()
            self._sockets.clear()

    def _cut(self) -> None:
        with self._lock:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    """urllib's handler, whose connections end with the deadline."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._build, req)

    def _build(self, host: str, **options: Any) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(host, **options)
        connection._create_connection = self._deadline.connect  # type: ignore[attr-defined]
        return connection


class _Https(urllib.request.HTTPSHandler):
    """The same over TLS, with the system's certificates."""

    def __init__(self, deadline: Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._build, req)

    def _build(self, host: str, **options: Any) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(host, **options)
        connection._create_connection = self._deadline.connect  # type: ignore[attr-defined]
        return connection


@contextlib.contextmanager
def open_url(url: str, *, deadline: Deadline, idle_sec: float) -> Iterator[http.client.HTTPResponse]:
    """Open an address, following redirects to `http` and `https` alone; proxies as the environment names them.

    Args:
        url: `http://` or `https://`; characters outside ASCII are escaped.
        deadline: cuts the connection, be it in the headers.
        idle_sec: the longest wait for a connection, and from one received byte to the next.
    Raises:
        urllib.error.URLError, http.client.HTTPException, OSError, ValueError: as urllib raises them.
    """
    # Built by hand: urllib's own opener also knows file:// and ftp://, and a redirect could lead there.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _Http(deadline),
        _Https(deadline),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    request = urllib.request.Request(escape_url(url), headers={"User-Agent": f"imgcls/{__version__}"})
    try:
        with opener.open(request, timeout=min(idle_sec, deadline.remaining_sec) or 0.001) as response:
            yield response
    finally:
        deadline.release()


def escape_url(url: str) -> str:
    """Percent-escape what a browser would: blanks and characters outside ASCII in path and query."""
    parts = urllib.parse.urlsplit(url)
    path, query = (urllib.parse.quote(text, safe=SAFE_IN_URL) for text in (parts.path, parts.query))
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, query, ""))
