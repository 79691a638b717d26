"""Which of many inputs to take: by name, by age, by share of the work."""

import fnmatch
import hashlib
import itertools
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from imgcls.data.sources import Source, check_stdin_use, has_image_suffix, iterate_sources, read_list
from imgcls.errors import UsageError

AGE_UNITS_SEC = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several shares of the inputs.

    Attributes:
        index: from 1.
        count: of all shares.
    """

    index: int
    count: int

    def has(self, name: str) -> bool:
        """Whether an input belongs to this share; depends on its name alone, so that machines agree."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.index - 1


def parse_shard(text: str) -> Shard:
    """Read `I/N`, such as `3/8`.

    Raises:
        UsageError: not of that form, or I is outside 1..N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text!r} is not I/N with I from 1 to N", hint="for the third of eight: --shard 3/8")
    return Shard(int(match[1]), int(match[2]))


def parse_newer_than(text: str, *, now: float | None = None) -> int:
    """Turn an age (`36h`, `7d`), a date or a file into a time.

    Args:
        text: a number with s, m, h, d or w; an ISO date or time; or a file, whose modification time counts.
        now: seconds since 1970; the current time by default.
    Returns:
        Nanoseconds since 1970.
    Raises:
        UsageError: none of these.
    """
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text):
        age_sec = float(match[1]) * AGE_UNITS_SEC[match[2]]
        return int(((time.time() if now is None else now) - age_sec) * 1e9)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    except ValueError:
        pass
    try:
        return Path(text).stat().st_mtime_ns
    except OSError as exc:
        raise UsageError(
            f"--newer-than {text!r} is no age, date or file", hint="use 24h, 7d, 2026-11-20, or a file's name"
        ) from exc


def name_filter(include: Iterable[str], exclude: Iterable[str]) -> Callable[[str], bool]:
    """A test on names; a pattern with a slash is held against the whole path, one without against the last part.

    Args:
        include: at least one must match; none at all means the suffixes of pictures.
        exclude: none may match.
    """
    wanted, unwanted = tuple(include), tuple(exclude)

    def accepts(name: str) -> bool:
        if any(_matches(name, pattern) for pattern in unwanted):
            return False
        return any(_matches(name, pattern) for pattern in wanted) if wanted else has_image_suffix(name)

    return accepts


def select_sources(
    sources: Iterable[Source], *, shard: Shard | None = None, newer_than_ns: int | None = None
) -> Iterator[Source]:
    """Take the sources of one share, and the files that are new enough.

    Files whose time can't be read are taken, so that their record says why.

    Args:
        sources: all of them.
        shard: the share, None for all.
        newer_than_ns: nanoseconds since 1970, None for any age; says nothing of URLs and stdin.
    """
    for source in sources:
        if shard is not None and not shard.has(source.name):
            continue
        if newer_than_ns is not None and source.path is not None:
            try:
                if source.path.stat().st_mtime_ns <= newer_than_ns:
                    continue
            except (OSError, ValueError):
                pass
        yield source


@dataclass(frozen=True, slots=True)
class InputSelection:
    """Which inputs, in the words of the command line.

    Attributes:
        arguments: files, folders, patterns, URLs, `-`.
        files_from: a list of more of them, `-` for stdin, or None.
        nul: whether the list's entries end with a NUL byte.
        include, exclude: patterns on the names that folders and patterns hold.
        shard: `I/N`, or None.
        newer_than: an age, a date or a file, or None.
    """

    arguments: tuple[str, ...]
    files_from: str | None = None
    nul: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    shard: str | None = None
    newer_than: str | None = None

    def open(self) -> Iterator[Source]:
        """Check the options, then give the inputs, lazily and in order.

        Raises:
            UsageError: no input is named, stdin has two readers, or an option means nothing.
        """
        if not self.arguments and self.files_from is None:
            raise UsageError("nothing to classify", hint="imgcls predict photo.jpg, or --files-from LIST")
        check_stdin_use(self.arguments, self.files_from)
        listed = read_list(self.files_from, nul=self.nul) if self.files_from is not None else ()
        return select_sources(
            iterate_sources(itertools.chain(self.arguments, listed), accept=name_filter(self.include, self.exclude)),
            shard=parse_shard(self.shard) if self.shard else None,
            newer_than_ns=parse_newer_than(self.newer_than) if self.newer_than else None,
        )


def _matches(name: str, pattern: str) -> bool:
    if "/" in pattern:
        return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, f"*/{pattern}")
    return fnmatch.fnmatch(name.replace("\\", "/").rsplit("/", 1)[-1], pattern)
