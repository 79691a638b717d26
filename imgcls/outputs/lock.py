"""One run an output."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from imgcls.errors import OutputError
from imgcls.host.files import output_error
from imgcls.outputs.manifest import describe_holder


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an output, so that no second run writes to it.

    The lock is the system's, and ends with its process however that ends. Its file stays: were it deleted, a run that
    has just opened it and one that makes it anew would both hold a lock.

    Raises:
        OutputError: another process holds it, or its folder can't be written.
    """
    lock_path = _lock_path(path)
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_path, timeout=0)
        lock.acquire()
    except Timeout as exc:
        raise OutputError(
            f"another run is writing {path}{describe_holder(path)}", hint="wait for it to end, or name another --output"
        ) from exc
    except OSError as exc:
        raise output_error(path, exc) from exc
    except NotImplementedError as exc:
        raise OutputError(f"can't lock {path}: its file system has no locks", hint="name a local --output") from exc
    try:
        yield
    finally:
        lock.release()


def refuse_if_held(path: Path) -> None:
    """Say early, before a model is loaded, that another run holds an output; leaves no trace.

    Raises:
        OutputError: another process holds it, or its folder can't be written.
    """
    if _lock_path(path).exists():
        with exclusive(path):
            pass


def _lock_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
