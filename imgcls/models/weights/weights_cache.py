"""Pretrained weights on disk: found in torch.hub's cache and checked, or downloaded."""

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from imgcls.errors import ModelError, OutputError
from imgcls.host import cache_folders
from imgcls.host.digests import file_sha256
from imgcls.models.families.family import DownloadProgress, PretrainedEntry

if TYPE_CHECKING:
    from imgcls.host.http.content import Limits

# A mirror of the catalogue's files: stands in for all of an address before the file's name.
MIRROR_VARIABLE = "IMGCLS_WEIGHTS_URL"
# torch.hub's convention, with at least the eight digits that every published file has.
DIGITS_IN_NAME = re.compile(r"-([a-f0-9]{8,64})\.")


def cached_weights(
    entry: PretrainedEntry,
    *,
    progress: DownloadProgress | None = None,
    limits: "Limits | None" = None,
) -> Path:
    """The path of a network's verified weights file, downloaded first if it isn't in the cache.

    A file whose name holds no digits of its hash can't be verified beyond its length.

    Args:
        entry: the catalogue's.
        progress: called with bytes so far and in all (None when unknown) while the file is downloaded.
        limits: of the download; None for the usual ones.
    Raises:
        ModelError: the file in the cache is damaged, or isn't there and can't be downloaded.
        OutputError: the cache can't be written.
    """
    path = weights_path(entry)
    digits = digits_in_name(path.name)
    if path.is_file():
        if digits:
            _check_cached(path, digits)
        return path
    # Where the file is here, nothing pays for the import of an HTTP client.
    from imgcls.host.http.content import DEFAULT_LIMITS
    from imgcls.host.http.download import Digest, download_file
    from imgcls.host.http.faults import DownloadError

    url, check = weights_url(entry), Digest("sha256", digits) if digits else None
    try:
        download_file(url, path, check=check, progress=progress, limits=limits or DEFAULT_LIMITS)
    except DownloadError as exc:
        raise ModelError(
            f"the weights of {entry.name!r} are not here and can't be downloaded from {exc.url}: {exc.reason}",
            hint=("unset IMGCLS_OFFLINE, or " if cache_folders.is_offline() else "") + f"put that file at {path}",
        ) from exc
    except OutputError as exc:
        raise OutputError(
            exc.message, hint="free some space, or set TORCH_HOME to a folder that can be written"
        ) from exc
    return path


def weights_path(entry: PretrainedEntry) -> Path:
    """Where a network's weights are, or would be, cached; torch.hub looks in the same place."""
    return cache_folders.weights_folder() / entry.url.rpartition("/")[2]


def weights_url(entry: PretrainedEntry) -> str:
    """Where a network's weights are fetched: the catalogue's address, or the mirror's in `IMGCLS_WEIGHTS_URL`."""
    mirror = os.environ.get(MIRROR_VARIABLE)
    return f"{mirror.rstrip('/')}/{entry.url.rpartition('/')[2]}" if mirror else entry.url


def digits_in_name(name: str) -> str:
    """The first digits of a file's SHA-256 as its name tells them, such as `7be5be79`; empty if it doesn't.

    Source: torch.hub's HASH_REGEX.
    """
    found = DIGITS_IN_NAME.search(name)
    return found[1] if found else ""


def _check_cached(path: Path, digits: str) -> None:
    try:
        found = file_sha256(path)
    except OSError as exc:
        raise ModelError(f"{path} can't be read: {exc.strerror}", hint="check the permissions of that file") from exc
    if not found.startswith(digits):
        delete = f'del "{path}"' if os.name == "nt" else f"rm {shlex.quote(str(path))}"
        raise ModelError(
            f"{path} is damaged: its SHA-256 starts with {found[: len(digits)]}, not {digits}",
            hint=f"delete it, and it will be fetched again: {delete}",
        )
