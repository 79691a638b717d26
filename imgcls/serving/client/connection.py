"""A connection to a server that may be busy, or restart, for a while."""

import os
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls._version import __version__
from imgcls.errors import DeviceError, UsageError
from imgcls.host.http.urls import without_secrets
from imgcls.images.inputs.names import is_url

if TYPE_CHECKING:
    import httpx

# Waits between tries where the server doesn't say; doubled each time, and never all clients at once.
FIRST_PAUSE_SEC = 0.25
MAX_PAUSE_SEC = 10.0
# A moment without a server is a restart; longer is none.
PATIENCE_SEC = 60.0
TIMEOUT_SEC = 60.0
BUSY = 503
UNPROCESSABLE = 422
START_HINT = "start one: imgcls serve -m MODEL"


class ServerError(DeviceError):
    """The server doesn't answer, or refuses; no matter of one image."""


class Connection:
    """Asks a server, and asks again while it is busy; several threads may use it at the same time.

    Args:
        url: of the server; behind a proxy with its prefix.
        token: for the server; None takes the environment variable `IMGCLS_TOKEN`.
        concurrency: requests at the same time.
        patience_sec: how long a server that is busy or restarts is asked again.
        uds: path of a Unix socket in the place of the URL's host.
        verify: for TLS: whether certificates are checked, or a file of those to trust.
    Raises:
        DeviceError: httpx isn't installed.
        UsageError: the address or the certificates are of no use.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None,
        concurrency: int,
        patience_sec: float,
        uds: str | Path | None,
        verify: bool | str,
    ) -> None:
        if not is_url(url):
            raise UsageError(
                f"a server's address begins with http:// or https://, not {url!r}", hint="http://HOST:PORT"
            )
        if concurrency < 1:
            raise UsageError(f"concurrency must be at least 1, not {concurrency}", hint="concurrency=8")
        self._httpx = _import_httpx()
        self.url = url.rstrip("/")
        self.shown_url = without_secrets(self.url)
        self._patience_sec = patience_sec
        headers = {"User-Agent": f"imgcls/{__version__}"}
        token = token or os.environ.get("IMGCLS_TOKEN")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        limits = self._httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._http = self._httpx.Client(
            headers=headers,
            timeout=TIMEOUT_SEC,
            transport=self._httpx.HTTPTransport(limits=limits, uds=str(uds) if uds else None, verify=_trusted(verify)),
        )
        self._closing = threading.Event()

    def close(self) -> None:
        """Let go of the connections, and wait for no server any more."""
        self._closing.set()
        self._http.close()

    def ask(
        self, method: str, path: str, query: dict[str, Any] | None = None, content: bytes | None = None
    ) -> "httpx.Response":
        """One answer.

        Args:
            method: of HTTP.
            path: below the server's address.
            query: what follows it.
            content: bytes to send.
        Raises:
            ServerError: none came in time.
        """
        end = time.monotonic() + self._patience_sec
        pause_sec = FIRST_PAUSE_SEC
        headers = {"Content-Type": "application/octet-stream"} if content is not None else {}
        while True:
            wait_sec, reason = pause_sec, ""
            try:
                response: httpx.Response = self._http.request(
                    method, self.url + path, params=query, content=content, headers=headers
                )
                if response.status_code != BUSY:
                    return response
                wait_sec, reason = max(_retry_after(response), pause_sec), reason_of(response)
            except self._httpx.TransportError as exc:
                if isinstance(exc, self._httpx.UnsupportedProtocol):
                    raise UsageError(f"not a usable address: {self.shown_url}", hint="http://HOST:PORT") from exc
                reason = str(exc) or type(exc).__name__
            # Others were refused at the same moment, and shall not come back at the same moment.
            wait_sec *= random.uniform(1.0, 1.25)
            if time.monotonic() + wait_sec > end or self._closing.wait(wait_sec):
                raise ServerError(f"no answer from {self.shown_url}: {reason}", hint=START_HINT)
            pause_sec = min(2 * pause_sec, MAX_PAUSE_SEC)

    def refused(self, response: "httpx.Response") -> ServerError:
        """Why an answer is none."""
        reason = f"{self.shown_url}: HTTP {response.status_code}: {reason_of(response)}"
        if response.status_code == 401:
            return ServerError(reason, hint="set IMGCLS_TOKEN to one of the server's tokens")
        return ServerError(reason, hint="the server's log says more")


def _import_httpx() -> Any:
    try:
        import httpx
    except ImportError as exc:
        raise DeviceError(
            "asking a server needs httpx, which is not installed", hint="pip install 'imgcls[serve]'"
        ) from exc
    return httpx


def _trusted(verify: bool | str) -> Any:
    if not isinstance(verify, str):
        return verify
    import ssl

    try:
        return ssl.create_default_context(cafile=verify)
    except OSError as exc:
        raise UsageError(f"{verify} holds no certificates: {exc}", hint="a file of certificates in PEM") from exc


def reason_of(response: "httpx.Response") -> str:
    """What the server says in an answer that isn't what was asked for."""
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase


def _retry_after(response: "httpx.Response") -> float:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else 0.0
