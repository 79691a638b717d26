"""Which model an ONNX file is: the SHA-256 of all that its answers depend on."""

import hashlib
import mmap
from pathlib import Path

from imgcls.errors import ModelError
from imgcls.host.digests import file_sha256
from imgcls.models.onnx.file_bytes import stored_digest


def checked_sha256(path: Path) -> str:
    """The file's SHA-256, after what `imgcls export` wrote into it has been checked.

    Raises:
        ModelError: it was changed, or can't be read.
    """
    try:
        stored = _stored(path)
        if stored is not None and file_sha256(path, num_bytes=stored[1]) != stored[0]:
            raise ModelError(f"{path} was changed or damaged after its export", hint="export the model again")
        return file_sha256(path)
    except OSError as exc:
        raise ModelError(f"{path} can't be read: {exc.strerror}", hint="check the permissions of that file") from exc


def is_as_written(path: Path) -> bool:
    """Whether a file whose SHA-256 has been checked is one that `imgcls export` wrote: its weights are in it."""
    return _stored(path) is not None


def sha256_with_weights(path: Path, sha256: str, names: tuple[str, ...]) -> str:
    """The SHA-256 of a file and of the files beside it that hold its weights.

    Args:
        path: the ONNX file.
        sha256: its own.
        names: of the other files, relative to its folder.
    Raises:
        ModelError: one of them isn't there.
    """
    lines = [sha256]
    for name in names:
        try:
            lines.append(f"{name} {file_sha256(path.resolve().parent / name)}")
        except (OSError, ValueError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise ModelError(
                f"the weights of {path} in {name} can't be read: {reason}", hint=f"put {name} beside {path.name}"
            ) from exc
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _stored(path: Path) -> tuple[str, int] | None:
    if not path.stat().st_size:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return stored_digest(mapped)
