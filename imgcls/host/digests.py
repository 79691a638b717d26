"""SHA-256 of files, remembered once per version of a file.

Hashing AlexNet's 233 MiB costs more than classifying an image with it, so the digest is kept with all that the system
notes of a change: size, inode, and the times of the contents and of the inode, the last of which no program can set
back. It is computed again as soon as one of them changes.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path

from imgcls.errors import OutputError
from imgcls.host import cache_folders
from imgcls.host.files import write_text

# Beyond this many files the oldest entries are forgotten; each is some 200 bytes.
MAX_REMEMBERED = 512
CHUNK_BYTES = 2**20
# A file that changes again within a tick of the system's clock keeps its times; the longest tick is 10 ms.
SETTLED_NS = 20_000_000
MAX_ANSWER = 1000


def file_sha256(path: Path, *, num_bytes: int | None = None, verify: bool = False) -> str:
    """The SHA-256 of a file's bytes as 64 hexadecimal digits, from memory when the file hasn't changed.

    Args:
        path: the file.
        num_bytes: of its first so many bytes only; None takes all.
        verify: compute it anew, whatever is remembered.
    Raises:
        OSError: the file can't be read.
    """
    what = "" if num_bytes is None else f"[:{num_bytes}]"
    return remembered(path, what, lambda file: _digest(file, num_bytes), verify=verify)


def remembered(path: Path, what: str, compute: Callable[[BufferedReader], str], *, verify: bool = False) -> str:
    """What was computed of a file, from memory when the file hasn't changed since.

    Args:
        path: the file.
        what: tells it from other things that are remembered of the file.
        compute: called with the open file where it isn't known; the answer is short.
        verify: compute it anew, whatever is remembered.
    Raises:
        OSError: the file can't be read.
    """
    key = f"{path.resolve()}{what}"
    version = _version(path.stat())
    known = _read()
    entry = known.get(key)
    if entry is not None and entry[:-1] == version and not verify:
        return str(entry[-1])
    with path.open("rb") as file:
        answer = compute(file)
        is_unchanged = _version(os.fstat(file.fileno())) == version
    if is_unchanged and time.time_ns() - max(version[1], version[3]) > SETTLED_NS:
        known.pop(key, None)
        known[key] = [*version, answer]
        # A cache that can't be written costs time, never the answer.
        with contextlib.suppress(OutputError):
            write_text(_store(), json.dumps(dict(list(known.items())[-MAX_REMEMBERED:]), indent=0))
    return answer


def forget_digests() -> None:
    """Let every file be hashed anew."""
    with contextlib.suppress(OSError, OutputError):
        _store().unlink(missing_ok=True)


def _version(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]


def _digest(file: BufferedReader, num_bytes: int | None) -> str:
    if num_bytes is None:
        return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    while num_bytes > 0 and (chunk := file.read(min(num_bytes, CHUNK_BYTES))):
        digest.update(chunk)
        num_bytes -= len(chunk)
    return digest.hexdigest()


def _store() -> Path:
    return cache_folders.cache_folder() / "digests.json"


def _read() -> dict[str, list[int | str]]:
    try:
        entries = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, OutputError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {key: value for key, value in entries.items() if _is_entry(value)}


def _is_entry(value: object) -> bool:
    return isinstance(value, list) and len(value) == 5 and isinstance(value[-1], str) and len(value[-1]) <= MAX_ANSWER
