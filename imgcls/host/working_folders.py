"""Folders that a process works in and removes; what killed processes left of theirs is removed too."""

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from imgcls.host.files import lock_piece

# Where there are no locks, a folder in which nothing has changed for so long belongs to a process that was killed.
STALE_SEC = 24 * 3600


@contextlib.contextmanager
def working_folder(parent: Path, *, prefix: str) -> Iterator[Path]:
    """A folder in `parent` that is gone when the block ends, and held by this process until then.

    Args:
        parent: a folder that exists.
        prefix: of its name; other folders that begin so, and that no process holds, are removed first.
    Raises:
        OSError: it can't be made.
    """
    for other in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            _remove_if_abandoned(other)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True) as name:
        if sys.platform == "win32":
            # There a folder can't be opened.
            yield Path(name)
            return
        handle = os.open(name, os.O_RDONLY)
        try:
            lock_piece(handle)
            yield Path(name)
        finally:
            os.close(handle)


def _remove_if_abandoned(folder: Path) -> None:
    is_free: bool | None = None
    handle = None
    if sys.platform != "win32":
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        is_free = lock_piece(handle)
    try:
        # One that is empty may have been made this moment, and not be held yet.
        is_old = time.time() - folder.stat().st_mtime > STALE_SEC
        if (is_free and any(folder.iterdir())) or (is_free is not False and is_old):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        if handle is not None:
            os.close(handle)
