"""Downloads that end whole, verified and in bounded time, or not at all."""

import hashlib
import http.client
import socket
import ssl
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from imgcls.errors import ExitCode, ImgclsError
from imgcls.host import cache_folders
from imgcls.host.files import remove_stale_parts, replacing
from imgcls.host.transport import Deadline, open_url

CHUNK_BYTES = 1 << 18
# Answers that another try may better: the server is starting, overloaded, or behind a gateway that lost it.
PASSING_STATUS = (429, 500, 502, 503, 504)

DownloadProgress = Callable[[int, int | None], None]
T = TypeVar("T")


class DownloadError(ImgclsError):
    """An address that could not be fetched.

    Whoever needs weights turns it into a `ModelError`, whoever classifies the address into an `ImageError`.

    Args:
        url: what was asked for.
        reason: why it failed, as a clause without the address.
        hint: what to do next.
    """

    exit_code = ExitCode.DATA

    def __init__(self, url: str, reason: str, *, hint: str = "check the address and the network") -> None:
        super().__init__(f"can't download {url}: {reason}", hint=hint)
        self.url = url
        self.reason = reason


class Digest(NamedTuple):
    """What a file must hash to.

    Attributes:
        algorithm: as in hashlib.
        digits: the first hexadecimal digits of the hash, in lower case, or all of them.
    """

    algorithm: Literal["sha256", "md5"]
    digits: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a download may take.

    Attributes:
        idle_sec: the longest wait for a connection, and from one received byte to the next.
        total_sec: for everything, further tries and pauses included; whatever the server does, it is over then.
        min_bytes_per_sec: a server below it, on the average since it began to answer, is given up after `idle_sec`,
            so that one which drips doesn't use up the total.
        attempts: tries in all, where the fault may pass (connection reset, silence, cut short, 429, 5xx).
        pause_sec: before the second try; doubled before each further one.
    """

    idle_sec: float = 20
    total_sec: float = 3600
    min_bytes_per_sec: float = 1024
    attempts: int = 3
    pause_sec: float = 1


DEFAULT_LIMITS = Limits()


class _PassingFaultError(Exception):
    """A fault that another try may better; never leaves this module."""


def download_file(
    url: str,
    destination: Path,
    *,
    check: Digest | None = None,
    progress: DownloadProgress | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Fetch a file, which gets its name (or replaces the one that has it) only once its length and hash are right.

    Two processes may fetch the same file: each writes its own, and the last to end puts it into place.

    Args:
        url: `http://` or `https://`.
        destination: its folder is made if missing.
        check: the hash that the bytes must have.
        progress: called with bytes so far and in all (None when unknown); starts again at 0 with each try.
        limits: on time and tries.
    Raises:
        DownloadError: offline, not reachable, refused, too slow, cut short each time, or of another hash.
        OutputError: the file can't be written.
    """

    def fetch(deadline: Deadline) -> None:
        digest = hashlib.new(check.algorithm, usedforsecurity=False) if check else hashlib.sha256()
        with replacing(destination) as part:
            with part.open("wb") as file:
                done = 0
                for chunk, total in _chunks(url, deadline, limits):
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    if progress:
                        progress(done, total)
            if check and not digest.hexdigest().startswith(check.digits):
                found = digest.hexdigest()[: len(check.digits)]
                raise DownloadError(
                    url,
                    f"the {check.algorithm} of what came is {found}, not {check.digits}",
                    hint="the server, or a proxy on the way, sent something else; try another network or mirror",
                )

    remove_stale_parts(destination)
    _try_repeatedly(fetch, url, limits)


def download_bytes(url: str, *, max_bytes: int, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Fetch a small file into memory.

    Args:
        url: `http://` or `https://`.
        max_bytes: refuse more, as soon as the server announces or sends it.
        limits: on time and tries.
    Raises:
        DownloadError: as `download_file`, or more than `max_bytes`.
    """

    def fetch(deadline: Deadline) -> bytes:
        content = bytearray()
        for chunk, total in _chunks(url, deadline, limits):
            content += chunk
            if max(len(content), total or 0) > max_bytes:
                raise DownloadError(url, f"more than {max_bytes:,} bytes", hint="fetch it yourself and name the file")
        return bytes(content)

    return _try_repeatedly(fetch, url, limits)


def _try_repeatedly(fetch: Callable[[Deadline], T], url: str, limits: Limits) -> T:
    if cache_folders.is_offline():
        raise DownloadError(url, "IMGCLS_OFFLINE forbids the network", hint="unset IMGCLS_OFFLINE")
    with Deadline(limits.total_sec) as deadline:
        for attempt in range(1, limits.attempts + 1):
            try:
                return fetch(deadline)
            except _PassingFaultError as exc:
                if deadline.has_passed:
                    raise DownloadError(url, f"not done after {limits.total_sec:g} s") from exc
                pause_sec = limits.pause_sec * 2 ** (attempt - 1)
                if attempt == limits.attempts or pause_sec >= deadline.remaining_sec:
                    raise DownloadError(url, f"{exc} (tried {attempt} times)") from exc
                time.sleep(pause_sec)
    raise AssertionError("limits.attempts is at least 1")


def _chunks(url: str, deadline: Deadline, limits: Limits) -> Iterator[tuple[bytes, int | None]]:
    """What the server sends, with the length that it announced; first of all an empty chunk."""
    try:
        with open_url(url, deadline=deadline, idle_sec=limits.idle_sec) as response:
            total, done, start = response.length, 0, time.monotonic()
            yield b"", total
            # read() would wait for a whole chunk, however slowly it comes; read1() returns what is there.
            while chunk := response.read1(CHUNK_BYTES):
                done += len(chunk)
                elapsed_sec = time.monotonic() - start
                if elapsed_sec > limits.idle_sec and done < elapsed_sec * limits.min_bytes_per_sec:
                    raise DownloadError(url, f"too slow: {done:,} bytes in {elapsed_sec:.0f} s")
                yield chunk, total
            if deadline.has_passed:
                raise _PassingFaultError("out of time")
            if total is not None and done != total:
                raise _PassingFaultError(f"cut short: {done:,} of {total:,} bytes")
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason, may_pass = _explain(exc, limits)
        if may_pass or deadline.has_passed:
            raise _PassingFaultError(reason) from exc
        raise DownloadError(url, reason) from exc


def _explain(exc: Exception, limits: Limits) -> tuple[str, bool]:
    """The reason in words, and whether another try may better it."""
    if isinstance(exc, urllib.error.HTTPError):
        exc.close()
        return _one_line(f"HTTP {exc.code} {exc.reason}"), exc.code in PASSING_STATUS
    if isinstance(exc, urllib.error.URLError) and isinstance(exc.reason, Exception):
        exc = exc.reason
    match exc:
        case TimeoutError():
            return f"no answer for {limits.idle_sec:g} s", True
        case http.client.IncompleteRead():
            return "cut short", True
        case socket.gaierror():
            return "the host is unknown, or there is no network", False
        case ssl.SSLCertVerificationError():
            return _one_line(f"its certificate is not trusted ({exc.verify_message})"), False
        case ConnectionRefusedError():
            return "connection refused", False
        case ConnectionError() | ssl.SSLEOFError():
            return "the server closed the connection", True
        case OSError():
            return _one_line(exc.strerror or str(exc)), False
    return _one_line(f"not a usable address or answer ({exc})"), False


def _one_line(text: str) -> str:
    # A server chooses parts of these words: nothing of it may steer a terminal.
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
