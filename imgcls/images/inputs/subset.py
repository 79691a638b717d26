"""Which part of many inputs a run takes: a shard by name, or files that are new enough."""

import contextlib
import hashlib
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from imgcls.errors import UsageError

AGE_UNITS_SEC = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several parts of the inputs, each for another machine.

    Attributes:
        index: from 1.
        count: of all shards.
    """

    index: int
    count: int

    def has(self, name: str) -> bool:
        """Whether an input belongs to this shard; depends on its name alone, so that machines agree."""
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
    # Numbers too large for a time end where no file has their name either.
    with contextlib.suppress(ValueError, OverflowError, OSError):
        if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text, re.ASCII):
            age_sec = float(match[1]) * AGE_UNITS_SEC[match[2]]
            return int(((time.time() if now is None else now) - age_sec) * 1e9)
        return int(datetime.fromisoformat(text).timestamp() * 1e9)
    try:
        return Path(text).stat().st_mtime_ns
    except OSError as exc:
        raise UsageError(
            f"--newer-than {text!r} is no age, date or file", hint="use 24h, 7d, 2026-11-20, or a file's name"
        ) from exc
