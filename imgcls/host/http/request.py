"""Opening an HTTP address so that no server can keep us longer than we allow, nor lead us where we don't want to go.

urllib3 gives certificates, proxies, content encodings and timeouts from one received byte to the next. Added here: a
time limit for the whole answer, since a server which drips could hold a program for days; redirects that stay on HTTP
and off private networks, whose contents are never read; and credentials that go to their own host alone.
"""

import base64
import contextlib
import socket
import urllib.request
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from imgcls._version import __version__
from imgcls.host.http import urls
from imgcls.host.http.deadline import Deadline
from imgcls.host.http.faults import RefusedError

MAX_REDIRECTS = 10
# Answers that another try may better: the server is starting, overloaded, or behind a gateway that lost it.
PASSING_STATUS = (429, 500, 502, 503, 504)
# Answers with the whole content, be it from a proxy that changed it (203).
WHOLE_STATUS = (200, 203)


@contextlib.contextmanager
def open_url(
    url: str,
    *,
    deadline: Deadline,
    idle_sec: float,
    allow_private: bool = False,
    public_only: bool = False,
    allows: Callable[[str], bool] | None = None,
) -> Iterator[urllib3.BaseHTTPResponse]:
    """Open an address; proxies as the environment names them.

    Args:
        url: `http://` or `https://`, with `user:password@` for Basic authentication.
        deadline: cuts the connection, be it in the headers.
        idle_sec: the longest wait for a connection, and from one received byte to the next.
        allow_private: whether a public server may redirect to this machine or to a private network.
        public_only: whether even the first address must not be there, as where somebody else chose it.
        allows: whether an address may be asked, also one that a redirect leads to; None for any.
    Yields:
        The last answer, whatever its status, with nothing of its body read.
    Raises:
        RefusedError: a redirect that is not followed.
        urllib3.exceptions.HTTPError, OSError, ValueError: as urllib3 raises them; see `explain`.
    """
    url, user = urls.split_user(url)
    was_public = public_only
    for _ in range(MAX_REDIRECTS + 1):
        if allows is not None and not allows(url):
            raise RefusedError("it redirects to a host that is not allowed")
        hop = _Hop(url, deadline, forbids_private=was_public and not allow_private)
        response = hop.request(user, idle_sec=idle_sec)
        try:
            location = response.get_redirect_location()
            if not location:
                yield response
                return
        finally:
            response.close()
        was_public = was_public or not hop.is_private
        try:
            target, target_user = urls.redirect_target(url, location)
        except ValueError as exc:
            raise RefusedError(f"HTTP {response.status}: {exc}") from exc
        if urls.origin(target) != urls.origin(url):
            user = None
        url, user = target, target_user or user
    raise RefusedError(f"HTTP {response.status}: more than {MAX_REDIRECTS} redirects")


class _Hop:
    """One request.

    Args:
        url: escaped, without credentials.
        deadline: of the connection.
        forbids_private: whether a private address is refused.
    """

    def __init__(self, url: str, deadline: Deadline, *, forbids_private: bool) -> None:
        self._url, self._deadline, self._forbids_private = url, deadline, forbids_private
        self.is_private = False

    def request(self, user: bytes | None, *, idle_sec: float) -> urllib3.BaseHTTPResponse:
        headers = {"User-Agent": f"imgcls/{__version__}", "Accept-Encoding": "identity"}
        if user is not None:
            headers["Authorization"] = _basic(user)
        proxy = _proxy_for(self._url)
        if proxy is None:
            manager = urllib3.PoolManager()
        else:
            # Its own address is trusted; the one behind it can be judged by its spelling alone.
            self._meet(urlsplit(self._url).hostname or "")
            address, proxy_user = urls.split_user(proxy)
            proxy_headers = {"Proxy-Authorization": _basic(proxy_user)} if proxy_user else None
            manager = urllib3.ProxyManager(address, proxy_headers=proxy_headers)
        pool = manager.connection_from_url(self._url)
        pool.ConnectionCls = _watched(self._url, self._on_connection(judges=proxy is None))
        timeout = urllib3.Timeout(min(idle_sec, self._deadline.remaining_sec) or 0.001)
        return manager.urlopen(
            "GET", self._url, headers=headers, timeout=timeout, retries=False, redirect=False, preload_content=False
        )

    def _on_connection(self, *, judges: bool) -> Callable[[socket.socket], None]:
        def on_connection(connection: socket.socket) -> None:
            self._deadline.watch(connection)
            if judges:
                # The address that the name really led to, before anything is sent there.
                self._meet(str(connection.getpeername()[0]))

        return on_connection

    def _meet(self, host: str) -> None:
        self.is_private = urls.is_private(host)
        if self.is_private and self._forbids_private:
            raise RefusedError(f"a public server redirects to the private address {host}")


def _watched(url: str, on_connection: Callable[[socket.socket], None]) -> type[HTTPConnection]:
    """urllib3's connection, which shows its socket as soon as it has one.

    Until then TLS and urllib3's own timeout bound the time: Python counts a handshake as one step.
    """

    class Watched(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            on_connection(self.sock)

    class WatchedTls(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            on_connection(self.sock)

    return WatchedTls if url.startswith("https:") else Watched


def _basic(user: bytes) -> str:
    return f"Basic {base64.b64encode(user).decode('ascii')}"


def _proxy_for(url: str) -> str | None:
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"
