"""An output in object storage: written here as a file is, and uploaded when it is whole, or when the run is cut.

An object can't be appended to, so that the journal of a run lies in the user's cache until then: a run that was killed
continues on the machine where it was, one that was cut by a signal on any.
"""

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from imgcls.errors import OutputError
from imgcls.host.cache_folders import cache_folder
from imgcls.images.object_storage.urls import StorageOptions, is_object_url, restored_url, shown_url

HINT = "check the address, the credentials and the network; -o FILE writes here"


def remote_address(output: Path | None) -> str | None:
    """The address in object storage that an output names; None for a file and for stdout."""
    url = restored_url(output.as_posix()) if output is not None else ""
    return url if is_object_url(url) else None


def working_path(url: str) -> Path:
    """Where an output in object storage is written until it is whole."""
    digest = hashlib.blake2b(url.encode(), digest_size=8).hexdigest()
    return cache_folder() / "uploads" / digest / (url.rstrip("/").rpartition("/")[2] or "output")


@contextlib.contextmanager
def uploaded(url: str | None, options: StorageOptions, *, resume: bool, overwrite: bool) -> Iterator[None]:
    """Around a run whose output is `working_path(url)`: fetch what is there, and upload what comes of it.

    Args:
        url: of the output; None does nothing.
        options: how the store is reached.
        resume: continue the object.
        overwrite: replace it.
    Raises:
        OutputError: it is there already, or the store can't be read or written.
    """
    if url is None:
        yield
        return
    from imgcls.images.object_storage.retries import StorageError
    from imgcls.images.object_storage.store import object_store
    from imgcls.outputs.journal import part_path
    from imgcls.outputs.lock import refuse_if_held
    from imgcls.outputs.manifest import manifest_path

    store = object_store(url, options)
    path = working_path(url)
    refuse_if_held(path)
    folder = url.rpartition("/")[0]
    pieces = {each: f"{folder}/{each.name}" for each in (path, part_path(path), manifest_path(path))}
    try:
        if not (resume or overwrite) and any(each.exists() or store.exists(pieces[each]) for each in list(pieces)[:2]):
            ways = "--resume continues it, --overwrite replaces it"
            raise OutputError(f"{shown_url(url)} exists already", hint=ways)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not resume:
            _clear(pieces)
        elif not any(each.exists() for each in pieces):
            # What lies here is of a run that was killed or could not upload, and newer than what it began with.
            for here, there in pieces.items():
                if store.exists(there):
                    store.download(there, here)
    except StorageError as exc:
        raise OutputError(f"can't reach {shown_url(url)}: {exc.reason}", hint=HINT) from exc
    part = part_path(path)
    try:
        yield
    finally:
        try:
            for here, there in pieces.items():
                if here.exists():
                    store.upload(here, there)
            if path.exists() and not part.exists():
                store.remove(pieces[part])
        except StorageError as exc:
            raise OutputError(
                f"can't write {shown_url(url)}: {exc.reason}; what is done is kept in {path.parent}",
                hint=f"{HINT}; --resume continues it",
            ) from exc
        _clear(pieces)
        with contextlib.suppress(OSError):
            path.parent.rmdir()


def _clear(pieces: Iterable[Path]) -> None:
    for each in pieces:
        each.unlink(missing_ok=True)
