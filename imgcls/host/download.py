"""Downloads that end whole, verified and in bounded time, or not at all."""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar
from urllib.parse import urlsplit

import urllib3

from imgcls.errors import ExitCode, ImgclsError
from imgcls.host import cache_folders
from imgcls.host.files import remove_stale_parts, replacing
from imgcls.host.http import PASSING_STATUS, WHOLE_STATUS, Deadline, RefusedError, explain, open_url
from imgcls.host.urls import without_secrets

CHUNK_BYTES = 1 << 18
# A server's own words are cut there.
MAX_REASON = 300

DownloadProgress = Callable[[int, int | None], None]
T = TypeVar("T")


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
        pause_sec: before the second try; doubled before each further one, and longer where the server asks for it.
        max_pause_sec: a server that asks for a longer pause is given up.
    """

    idle_sec: float = 20
    total_sec: float = 3600
    min_bytes_per_sec: float = 1024
    attempts: int = 3
    pause_sec: float = 1
    max_pause_sec: float = 120


DEFAULT_LIMITS = Limits()


class _PassingFaultError(Exception):
    """A fault that another try may better; never leaves this module.

    Args:
        reason: in words.
        pause_sec: how long the server asks to wait.
    """

    def __init__(self, reason: str, *, pause_sec: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_sec = pause_sec


class _Chunk(NamedTuple):
    """A part of an answer: its bytes, and how many have come over the wire of how many announced (None: unknown)."""

    content: bytes
    done: int
    total: int | None


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
                for chunk in _chunks(url, deadline, limits, allow_private=False):
                    file.write(chunk.content)
                    digest.update(chunk.content)
                    if progress:
                        progress(chunk.done, chunk.total)
            if check and not digest.hexdigest().startswith(check.digits):
                found = digest.hexdigest()[: len(check.digits)]
                raise DownloadError(
                    url,
                    f"the {check.algorithm} of what came is {found}, not {check.digits}",
                    hint="the server, or a proxy on the way, sent something else; try another network or mirror",
                )

    remove_stale_parts(destination)
    _try_repeatedly(fetch, url, limits)


def download_bytes(
    url: str,
    *,
    max_bytes: int,
    limits: Limits = DEFAULT_LIMITS,
    allow_private: bool = False,
    public_only: bool = False,
    allows: Callable[[str], bool] | None = None,
) -> bytes:
    """Fetch a small file into memory.

    Args:
        url: `http://` or `https://`.
        max_bytes: refuse more, as soon as the server announces or sends it, be it compressed.
        limits: on time and tries.
        allow_private: whether a public server may redirect to this machine or to a private network.
        public_only: whether even the first address must not be there.
        allows: whether an address may be asked; None for any.
    Raises:
        DownloadError: as `download_file`, or more than `max_bytes`.
    """

    def fetch(deadline: Deadline) -> bytes:
        content = bytearray()
        for chunk in _chunks(
            url, deadline, limits, allow_private=allow_private, public_only=public_only, allows=allows
        ):
            content += chunk.content
            if max(len(content), chunk.total or 0) > max_bytes:
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
                tries = "tried once" if attempt == 1 else f"tried {attempt} times"
                pause_sec = max(limits.pause_sec * 2 ** (attempt - 1), exc.pause_sec)
                if attempt == limits.attempts:
                    raise DownloadError(url, f"{exc} ({tries})") from exc
                if pause_sec >= min(deadline.remaining_sec, limits.max_pause_sec):
                    asked = f"; the server asks to wait {exc.pause_sec:.0f} s" if exc.pause_sec else ""
                    raise DownloadError(url, f"{exc} ({tries}{asked})") from exc
                time.sleep(pause_sec)
    raise AssertionError("limits.attempts is at least 1")


def _chunks(
    url: str,
    deadline: Deadline,
    limits: Limits,
    *,
    allow_private: bool,
    public_only: bool = False,
    allows: Callable[[str], bool] | None = None,
) -> Iterator[_Chunk]:
    """What the server sends; first of all an empty chunk."""
    done, total = 0, None
    try:
        with open_url(
            url,
            deadline=deadline,
            idle_sec=limits.idle_sec,
            allow_private=allow_private,
            public_only=public_only,
            allows=allows,
        ) as response:
            # Nobody asked for a part (206), and a redirect that leads nowhere (302) has no content either.
            if response.status not in WHOLE_STATUS:
                reason = one_line(f"HTTP {response.status} {response.reason}")
                if response.status in PASSING_STATUS:
                    raise _PassingFaultError(reason, pause_sec=_wanted_pause(response))
                raise DownloadError(url, reason)
            _check_encoding(url, response)
            total, start = response.length_remaining, time.monotonic()
            yield _Chunk(b"", 0, total)
            # read() would wait for a whole chunk, however slowly it comes; read1() returns what is there.
            while chunk := response.read1(CHUNK_BYTES, decode_content=not _is_compressed_file(url, response)):
                done, elapsed_sec = response.tell(), time.monotonic() - start
                if elapsed_sec > limits.idle_sec and done < elapsed_sec * limits.min_bytes_per_sec:
                    raise DownloadError(url, f"too slow: {done:,} bytes in {elapsed_sec:.0f} s")
                yield _Chunk(chunk, done, total)
            if deadline.has_passed:
                raise _PassingFaultError("out of time")
    except (OSError, ValueError, RefusedError, urllib3.exceptions.HTTPError) as exc:
        reason, may_pass = explain(exc, idle_sec=limits.idle_sec)
        if reason == "cut short" and total is not None:
            reason = f"cut short: {response.tell():,} of {total:,} bytes"
        if may_pass or deadline.has_passed:
            raise _PassingFaultError(one_line(reason)) from exc
        raise DownloadError(url, one_line(reason)) from exc


def _wanted_pause(response: urllib3.BaseHTTPResponse) -> float:
    try:
        return urllib3.Retry().get_retry_after(response) or 0.0
    except (urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
        return 0.0


def _check_encoding(url: str, response: urllib3.BaseHTTPResponse) -> None:
    # Asked for none, but some servers compress whatever they are asked.
    encodings = {word.strip().lower() for word in response.headers.get("Content-Encoding", "").split(",")}
    unknown = sorted(encodings - {"", "identity"} - set(response.CONTENT_DECODERS))
    if unknown:
        raise DownloadError(
            url,
            one_line(f"it came in the content encoding {', '.join(unknown)[:40]!r}, which was not asked for"),
            hint="pip install brotli" if unknown == ["br"] else "fetch it yourself and name the file",
        )


def _is_compressed_file(url: str, response: urllib3.BaseHTTPResponse) -> bool:
    # Servers label archives so too; their hashes are of the compressed file.
    return urlsplit(url).path.endswith((".gz", ".tgz")) and "gzip" in response.headers.get("Content-Encoding", "")


def one_line(text: str) -> str:
    """Words of which a server chose a part: short, and nothing of them steers a terminal."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 3]}..."
