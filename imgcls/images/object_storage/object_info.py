"""What a store's listing says of its objects, and which of them a pattern means."""

import fnmatch
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object.

    Attributes:
        url: its address.
        size_bytes: of it.
        modified_ns: when it was written, nanoseconds since 1970; 0 where the store doesn't say.
    """

    url: str
    size_bytes: int
    modified_ns: int


def object_info(url: str, found: dict[str, Any]) -> ObjectInfo:
    """An object, from what a store says of it: each kind of store in words of its own.

    Args:
        url: its address.
        found: as fsspec gives it.
    """
    moment = next((found[key] for key in ("LastModified", "last_modified", "updated", "mtime") if found.get(key)), None)
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            moment = None
    modified_ns = int(moment.timestamp() * 1e9) if isinstance(moment, datetime) else int(float(moment or 0) * 1e9)
    return ObjectInfo(url, int(found.get("size") or 0), modified_ns)


def matches(names: list[str], patterns: list[str]) -> bool:
    """Whether an address fits a pattern, both split at their slashes; `**` stands for any number of folders."""
    if not patterns:
        return not names
    if patterns[0] == "**":
        return any(matches(names[count:], patterns[1:]) for count in range(len(names) + 1))
    return bool(names) and fnmatch.fnmatchcase(names[0], patterns[0]) and matches(names[1:], patterns[1:])
