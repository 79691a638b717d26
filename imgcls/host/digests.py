"""SHA-256 of files, remembered once per version of a file.

Hashing AlexNet's 233 MiB costs more than classifying an image with it, so the digest is kept with the file's size and
modification time and computed again as soon as either changes.
"""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import BinaryIO

from imgcls.errors import OutputError
from imgcls.host import cache_folders
from imgcls.host.files import write_text

# Beyond this many files the oldest entries are forgotten; each is some 150 bytes.
MAX_REMEMBERED = 512
CHUNK_BYTES = 2**20


def file_sha256(path: Path, *, num_bytes: int | None = None) -> str:
    """The SHA-256 of a file's bytes as 64 hexadecimal digits, from memory when the file hasn't changed.

    Args:
        path: the file.
        num_bytes: of its first so many bytes only; None takes all.
    Raises:
        OSError: the file can't be read.
    """
    stat = path.stat()
    key = str(path.resolve()) + ("" if num_bytes is None else f"[:{num_bytes}]")
    version = [stat.st_size, stat.st_mtime_ns]
    store = cache_folders.cache_folder() / "digests.json"
    remembered = _read(store)
    entry = remembered.get(key)
    if entry is not None and entry[:2] == version:
        return str(entry[2])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest() if num_bytes is None else _of_start(file, num_bytes)
    remembered.pop(key, None)
    remembered[key] = [*version, digest]
    # A cache that can't be written costs time, never the answer.
    with contextlib.suppress(OutputError):
        write_text(store, json.dumps(dict(list(remembered.items())[-MAX_REMEMBERED:]), indent=0))
    return digest


def _of_start(file: BinaryIO, num_bytes: int) -> str:
    digest = hashlib.sha256()
    while num_bytes > 0 and (chunk := file.read(min(num_bytes, CHUNK_BYTES))):
        digest.update(chunk)
        num_bytes -= len(chunk)
    return digest.hexdigest()


def _read(store: Path) -> dict[str, list[int | str]]:
    try:
        entries = json.loads(store.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(entries, dict):
        return {}
    return {key: value for key, value in entries.items() if _is_entry(value)}


def _is_entry(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[2], str) and len(value[2]) == 64
