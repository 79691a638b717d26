"""Files are written whole or not at all."""

import contextlib
import errno
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from imgcls.errors import OutputError

if sys.platform != "win32":
    import fcntl

# Where there are no locks, a temporary file that nobody has written to for so long belongs to a process that was
# killed.
STALE_SEC = 3600
PART_SUFFIX = ".part"
# More than the blocks that a full disk may still have.
PROBE_BYTES = 2**20
# Outputs beside which pieces of killed processes were looked for by this process.
_swept: set[Path] = set()
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def replacing(path: Path, *, option: str = "--output") -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it into place when the block ends well.

    A reader sees the old file or the whole new one, whatever happens to this process. The folder is made if missing. A
    file that is replaced keeps who may read and write it, and its owner where this process may give files away.

    Args:
        path: the file to create or to replace.
        option: where the user named it, for the hint.
    Raises:
        OutputError: the folder or the file can't be written.
    """
    try:
        # A device or a pipe (/dev/stdout, /dev/null) must be written to, not replaced by a file.
        is_special = path.exists() and not path.is_file() and not path.is_dir()
        # Written through a link, as open() would, and not in the link's place.
        target = Path(os.path.realpath(path)) if path.is_symlink() and not is_special else path
        if not is_special:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target not in _swept:
                remove_stale_parts(target)
                _swept.add(target)
            handle, name = _new_piece(target)
    except OSError as exc:
        raise output_error(path, exc, option=option) from exc
    if is_special:
        with _typed_errors(path, option):
            yield target
        return
    part = Path(name)
    try:
        with _typed_errors(path, option):
            yield part
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            # Last, as it may forbid even us to write.
            _take_over(target, part)
            part.replace(target)
    finally:
        with contextlib.suppress(OSError):
            os.close(handle)
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _new_piece(target: Path) -> tuple[int, str]:
    """A new file beside `target`, held as long as this process lives, so that others know that somebody finishes it."""
    while True:
        handle, name = tempfile.mkstemp(prefix=_part_prefix(target), suffix=PART_SUFFIX, dir=target.parent)
        # Whoever sweeps holds a piece only while it removes it: this one, if it was met before it was held.
        if lock_piece(handle, waits=True) is None or os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)


def lock_piece(handle: int, *, waits: bool = False) -> bool | None:
    """Hold a piece of a file; the system lets go of it when the process ends, however.

    Args:
        handle: of the piece.
        waits: for whoever holds it.
    Returns:
        Whether it is held now; None where the system can't tell.
    """
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def remove_stale_parts(path: Path) -> None:
    """Delete what processes killed while `replacing` this file left beside it; what a process still owns stays."""
    with contextlib.suppress(OSError):
        for part in path.parent.iterdir():
            if part.name.startswith(_part_prefix(path)) and part.name.endswith(PART_SUFFIX):
                remove_if_abandoned(part)


def remove_if_abandoned(part: Path) -> None:
    """Delete a piece that no process owns; where the system can't tell, one that has lain there for long."""
    with contextlib.suppress(OSError):
        handle = os.open(part, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            is_free = lock_piece(handle)
            if time.time() - part.stat().st_mtime > STALE_SEC if is_free is None else is_free:
                # While it is held, so that nobody takes it in between; Windows removes no open file.
                if sys.platform == "win32":
                    os.close(handle)
                part.unlink()
        finally:
            if sys.platform != "win32":
                os.close(handle)


def output_error(path: Path, exc: OSError, *, option: str = "--output") -> OutputError:
    """The typed error for a file that could not be written.

    Args:
        path: the file.
        exc: why not.
        option: where the user named it, for the hint.
    """
    way_out = f"name another place with {option}"
    hint = f"free some space, or {way_out}" if exc.errno in NO_ROOM else way_out
    return OutputError(f"can't write {path}: {exc.strerror or exc}", hint=hint)


@contextlib.contextmanager
def _typed_errors(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # The reader of a pipe has gone: no fault of ours, and the command ends quietly.
        raise
    except OSError as exc:
        raise output_error(path, exc, option=option) from exc


def why_unwritten(path: Path, exc: Exception) -> OSError:
    """Why a library could not write a file, where it tells less than the system does: mostly that the disk is full.

    PyTorch's writer says "unexpected pos 704 vs 598" of a full disk, with no error number; another attempt has one.

    Args:
        path: as far as it was written.
        exc: what the library raised.
    """
    try:
        with path.open("ab") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as found:
        return found
    return OSError(str(exc).partition("\n")[0])


def _take_over(old: Path, new: Path) -> None:
    # mkstemp makes the file private; the finished one gets what its predecessor had, or an ordinary open() would give.
    try:
        status = old.stat()
    except OSError:
        new.chmod(0o666 & ~_umask())
        return
    if hasattr(os, "chown"):
        # Only root may give a file to another user, or to a group that isn't one's own.
        for user, group in ((-1, status.st_gid), (status.st_uid, -1)):
            with contextlib.suppress(OSError):
                os.chown(new, user, group)
    new.chmod(stat.S_IMODE(status.st_mode))


def _part_prefix(path: Path) -> str:
    # Hidden, and short enough that a name of the allowed length, which counts bytes, stays one.
    return f".{os.fsencode(path.name)[:80].decode('utf-8', 'ignore')}."


def _umask() -> int:
    # The only portable way to read it is to set it; 0o022 keeps a race with another thread harmless.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
