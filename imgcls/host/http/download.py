"""Downloads that end whole, verified and in bounded time, or not at all."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from imgcls.host import cache_folders
from imgcls.host.files import remove_stale_parts, replacing
from imgcls.host.http.content import DEFAULT_LIMITS, Limits, chunks
from imgcls.host.http.deadline import Deadline
from imgcls.host.http.faults import DownloadError, PassingFaultError

DownloadProgress = Callable[[int, int | None], None]
T = TypeVar("T")


class Digest(NamedTuple):
    """What a file must hash to.

    Attributes:
        algorithm: as in hashlib.
        digits: the first hexadecimal digits of the hash, in lower case, or all of them.
    """

    algorithm: Literal["sha256", "md5"]
    digits: str


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
                for chunk in chunks(url, deadline, limits, allow_private=False):
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
        for chunk in chunks(url, deadline, limits, allow_private=allow_private, public_only=public_only, allows=allows):
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
            except PassingFaultError as exc:
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
