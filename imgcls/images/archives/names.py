"""What archives and their members are called, and how several shards are written as one argument."""

import os
import re
from collections.abc import Iterator

# By suffix: what decompresses it, empty for nothing. The longer suffixes first.
TAR_SUFFIXES = {
    ".tar.gz": "gz",
    ".tgz": "gz",
    ".tar.bz2": "bz2",
    ".tbz2": "bz2",
    ".tar.xz": "xz",
    ".txz": "xz",
    ".tar.zst": "zst",
    ".tzst": "zst",
    ".tar": "",
}
ZIP_SUFFIXES = (".zip",)
SUFFIXES = (*TAR_SUFFIXES, *ZIP_SUFFIXES)
# Between an archive and its member: `shard.tar::path/in/it.jpg`.
SEPARATOR = "::"
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")


def archive_suffix(name: str) -> str:
    """The suffix by which a file is an archive that is read; empty for none."""
    lower = name.lower()
    return next((suffix for suffix in SUFFIXES if lower.endswith(suffix) and len(lower) > len(suffix)), "")


def is_streamed(name: str) -> bool:
    """Whether an archive can only be read from its beginning to its end, as a compressed tar."""
    return bool(TAR_SUFFIXES.get(archive_suffix(name)))


def split_member(text: str) -> tuple[str, str] | None:
    """Archive and member of `shard.tar::path/in/it.jpg`; None for other texts."""
    start = 0
    while (at := text.find(SEPARATOR, start)) >= 0:
        if archive_suffix(text[:at]) and at + len(SEPARATOR) < len(text):
            return text[:at], text[at + len(SEPARATOR) :]
        start = at + 1
    return None


def member_name(archive: str, member: str) -> str:
    """How a record calls a member: `shard.tar::path/in/it.jpg`; bytes outside UTF-8 are percent-escaped."""
    escaped = re.sub("[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", member)
    return f"{archive}{SEPARATOR}{escaped.encode('utf-8', 'backslashreplace').decode('utf-8')}"


def has_braces(text: str) -> bool:
    """Whether a text stands for several, as `shards/{000000..000099}.tar` does."""
    return RANGE.search(text) is not None


def expand_braces(text: str) -> Iterator[str]:
    """The names that ranges and lists in braces stand for, in order: `{08..11}` counts, `{train,val}` names.

    As in a shell, numbers keep the width of the longer end if one begins with 0; a range may fall.
    """
    match = RANGE.search(text)
    if match is None:
        yield text
        return
    head, tail = text[: match.start()], text[match.end() :]
    first, last, listed = match.groups()
    for choice in _numbers(first, last) if listed is None else listed.split(","):
        for rest in expand_braces(tail):
            yield f"{head}{choice}{rest}"


def _numbers(first: str, last: str) -> Iterator[str]:
    is_padded = any(len(end) > 1 and end[0] == "0" for end in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    start, end = int(first), int(last)
    for number in range(start, end + 1) if start <= end else range(start, end - 1, -1):
        yield f"{number:0{width}d}"


def parts_of(member: str) -> list[str]:
    """Folders and file of a member's path, without what names nothing (`.`, `//`)."""
    return [part for part in member.replace(os.sep, "/").split("/") if part not in ("", ".")]
