"""Files of repositories on the Hugging Face hub, through huggingface_hub and its cache."""

import logging
import os
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imgcls.errors import ModelError
from imgcls.host import cache_folders
from imgcls.models.families.family import DownloadProgress

INSTALL = "pip install 'imgcls[timm]'"
CONNECT_SEC = 10.0


def cached_file(address: str, file: str) -> Path | None:
    """A file of a repository if it is in the cache; the address is `ORG/NAME[@REVISION]`."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    repo, _at, revision = address.partition("@")
    found = try_to_load_from_cache(repo, file, revision=revision or None) if repo else None
    return Path(found) if isinstance(found, str) else None


def fetch_file(address: str, file: str, progress: DownloadProgress | None = None) -> Path:
    """A file of a repository, from the cache or through the network.

    Args:
        address: `ORG/NAME[@REVISION]`.
        file: its name in the repository.
        progress: called with bytes so far and in all.
    Raises:
        ModelError: it is neither here nor to be had.
    """
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
        from huggingface_hub.utils import logging as hub_logging
    except ImportError as exc:
        raise ModelError("huggingface_hub is not installed", hint=INSTALL) from exc
    repo, _at, revision = address.partition("@")
    if "HF_HUB_VERBOSITY" not in os.environ:
        # It warns of each retry; what came of them is told here.
        hub_logging.set_verbosity(logging.ERROR)
    if not cache_folders.is_offline() and not huggingface_hub.is_offline_mode() and cached_file(address, file) is None:
        _check_network(repo, file, os.environ.get("HF_ENDPOINT") or constants.ENDPOINT)
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                repo,
                file,
                revision=revision or None,
                endpoint=os.environ.get("HF_ENDPOINT") or None,
                local_files_only=cache_folders.is_offline(),
                tqdm_class=_bar(progress),
            )
        )
    except errors.EntryNotFoundError as exc:
        if isinstance(exc, errors.LocalEntryNotFoundError):
            raise ModelError(
                f"{file} of {repo} is not here and can't be downloaded",
                hint="connect, unset HF_HUB_OFFLINE and IMGCLS_OFFLINE, or set HF_ENDPOINT to a mirror server",
            ) from exc
        raise ModelError(f"{repo} has no {file}", hint="only safetensors are read, as a pickle may run code") from exc
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError, ValueError) as exc:
        said = str(exc).strip().partition("\n")[0]
        raise ModelError(f"can't fetch {file} of {repo}: {said}", hint="check the name and the network") from exc


def _check_network(repo: str, file: str, endpoint: str) -> None:
    """Try to connect, once: huggingface_hub itself tries a host that nobody knows for half a minute.

    Raises:
        ModelError: the server can't be reached.
    """
    from urllib.request import getproxies

    parts, proxies = urlsplit(endpoint), getproxies()
    if parts.hostname is None or proxies.get(parts.scheme) or proxies.get("all"):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SEC).close()
    except OSError as exc:
        why = "the host is unknown, or there is no network" if isinstance(exc, socket.gaierror) else exc.strerror or exc
        raise ModelError(
            f"{file} of {repo} is not here, and {parts.hostname} can't be reached: {why}",
            hint="connect, or set HF_ENDPOINT to a mirror server",
        ) from exc


def revision_of(file: Path) -> str:
    """The commit of the repository that a file in the cache is from, as the cache's folders tell; empty elsewhere.

    A repository's file is `models--ORG--NAME/snapshots/COMMIT/FILE`.
    """
    folders = file.parts[:-1]
    return folders[folders.index("snapshots") + 1] if "snapshots" in folders[:-1] else ""


def _bar(progress: DownloadProgress | None) -> Any:
    """huggingface_hub's way to tell of a download: a bar of tqdm, which shows nothing here and passes the bytes on."""
    from tqdm.std import tqdm

    class Told(tqdm):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **{**settings, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if progress is not None:
                progress(int(self.n), int(self.total) if self.total else None)
            return None

    return Told
