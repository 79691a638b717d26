"""One run per output."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imgcls.errors import OutputError
from imgcls.host.files import output_error
from imgcls.outputs.manifest import describe_holder

if TYPE_CHECKING:
    from filelock import FileLock

# A lock file that its holder has just removed can't be had; the next try makes a new one.
TRIES = 3


@contextlib.contextmanager
def exclusive(path: Path, *, option: str = "--output") -> Iterator[None]:
    """Hold an output, so that no second run writes to it.

    The lock is the system's, and ends with its process however that ends. Its file is removed by whoever holds it, and
    FileLock gives nobody a lock on a file that has been removed.

    Args:
        path: the output.
        option: where the user named it, for the hint.
    Raises:
        OutputError: another process holds it, or its folder can't be written.
    """
    # An answer on stdout needs no lock, and its import a fiftieth of the time for one image.
    from filelock import FileLock, Timeout

    lock_path = _lock_path(path)
    lock = FileLock(lock_path)
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock)
    except Timeout as exc:
        hint = f"wait for it to end, or name another {option}"
        raise OutputError(f"another run is writing {path}{describe_holder(path)}", hint=hint) from exc
    except OSError as exc:
        raise output_error(path, exc, option=option) from exc
    except NotImplementedError as exc:
        raise OutputError(f"can't lock {path}: its file system has no locks", hint=f"name a local {option}") from exc
    try:
        yield
    finally:
        if sys.platform != "win32":
            # There an open file can't be removed; here one that is removed later could be another run's.
            with contextlib.suppress(OSError):
                lock_path.unlink()
        lock.release()
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                lock_path.unlink()


def refuse_if_held(path: Path) -> None:
    """Say early, before a model is loaded, that another run holds an output; leaves no trace.

    Raises:
        OutputError: another process holds it, or its folder can't be written.
    """
    if _lock_path(path).exists():
        with exclusive(path):
            pass


def _acquire(lock: "FileLock") -> None:
    from filelock import Timeout

    for _ in range(TRIES - 1):
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=0)
            return
    lock.acquire(timeout=0)


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
