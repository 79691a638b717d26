"""What a server sends, in chunks, within limits of time."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

import urllib3

from imgcls.host.http.deadline import Deadline
from imgcls.host.http.faults import DownloadError, PassingFaultError, RefusedError, explain, one_line
from imgcls.host.http.request import PASSING_STATUS, WHOLE_STATUS, open_url

CHUNK_BYTES = 1 << 18


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


class Chunk(NamedTuple):
    """A part of an answer: its bytes, and how many have come over the wire of how many announced (None: unknown)."""

    content: bytes
    done: int
    total: int | None


def chunks(
    url: str,
    deadline: Deadline,
    limits: Limits,
    *,
    allow_private: bool,
    public_only: bool = False,
    allows: Callable[[str], bool] | None = None,
) -> Iterator[Chunk]:
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
                    raise PassingFaultError(reason, pause_sec=_wanted_pause(response))
                raise DownloadError(url, reason)
            _check_encoding(url, response)
            total, start = response.length_remaining, time.monotonic()
            yield Chunk(b"", 0, total)
            # read() would wait for a whole chunk, however slowly it comes; read1() returns what is there.
            while chunk := response.read1(CHUNK_BYTES, decode_content=not _is_compressed_file(url, response)):
                done, elapsed_sec = response.tell(), time.monotonic() - start
                if elapsed_sec > limits.idle_sec and done < elapsed_sec * limits.min_bytes_per_sec:
                    raise DownloadError(url, f"too slow: {done:,} bytes in {elapsed_sec:.0f} s")
                yield Chunk(chunk, done, total)
            if deadline.has_passed:
                raise PassingFaultError("out of time")
    except (OSError, ValueError, RefusedError, urllib3.exceptions.HTTPError) as exc:
        reason, may_pass = explain(exc, idle_sec=limits.idle_sec)
        if reason == "cut short" and total is not None:
            reason = f"cut short: {response.tell():,} of {total:,} bytes"
        if may_pass or deadline.has_passed:
            raise PassingFaultError(one_line(reason)) from exc
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
