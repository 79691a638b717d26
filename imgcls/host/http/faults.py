"""Why a request failed: in words, and whether another try may better it."""

import http.client
import socket
import ssl

from urllib3 import exceptions

from imgcls.errors import ExitCode, ImgclsError
from imgcls.host.http.urls import without_secrets

# A server's own words are cut there.
MAX_REASON = 300


class RefusedError(Exception):
    """An answer that leads where we don't go; the message says why."""


class DownloadError(ImgclsError):
    """An address that could not be fetched.

    Whoever needs weights turns it into a `ModelError`, whoever classifies the address into an `ImageError`.

    Args:
        url: what was asked for; passwords and tokens in it are not shown.
        reason: why it failed, as a clause without the address.
        hint: what to do next.
    """

    exit_code = ExitCode.DATA

    def __init__(self, url: str, reason: str, *, hint: str = "check the address and the network") -> None:
        self.url = without_secrets(url)
        super().__init__(f"can't download {self.url}: {reason}", hint=hint)
        self.reason = reason


class PassingFaultError(Exception):
    """A fault that another try may better; never leaves `host.http`.

    Args:
        reason: in words.
        pause_sec: how long the server asks to wait.
    """

    def __init__(self, reason: str, *, pause_sec: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_sec = pause_sec


def explain(exc: Exception, *, idle_sec: float) -> tuple[str, bool]:
    """Why a request failed, in words, and whether another try may better it."""
    match exc:
        case exceptions.ProxyError():
            reason, may_pass = explain(exc.original_error, idle_sec=idle_sec)
            return f"the proxy: {reason}", may_pass
        case exceptions.NameResolutionError() | socket.gaierror():
            return "the host is unknown, or there is no network", False
        case exceptions.NewConnectionError() if isinstance(exc.__cause__, Exception):
            return explain(exc.__cause__, idle_sec=idle_sec)
        case exceptions.TimeoutError() | TimeoutError():
            return f"no answer for {idle_sec:g} s", True
        case exceptions.DecodeError():
            return "its content encoding is damaged", True
        case http.client.IncompleteRead():
            return "cut short", True
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({exc.verify_message})", False
        case ConnectionRefusedError():
            return "connection refused", False
        case ConnectionError() | ssl.SSLEOFError():
            return "the server closed the connection", True
        case exceptions.HTTPError() if isinstance(inner := _inner_error(exc), Exception):
            return explain(inner, idle_sec=idle_sec)
        case RefusedError():
            return str(exc), False
        case OSError():
            return exc.strerror or str(exc), False
    return f"not a usable address or answer ({exc})", False


def _inner_error(exc: exceptions.HTTPError) -> object:
    """What urllib3 wrapped: handed over as the last argument, or as the cause."""
    last = exc.args[-1] if exc.args else None
    return last if isinstance(last, Exception) else exc.__cause__


def one_line(text: str) -> str:
    """Words of which a server chose a part: short, and nothing of them steers a terminal."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 3]}..."
