"""Where files that outlive a command are kept."""

import os
import stat
import sys
import tempfile
from pathlib import Path

from imgcls.errors import OutputError

HINT = "set HOME, or IMGCLS_CACHE and TORCH_HOME, to a folder of yours"


def cache_folder() -> Path:
    """The user's cache for decoded data sets, remembered digests and downloaded data.

    `IMGCLS_CACHE` overrides the platform's place. The folder need not exist yet.

    Raises:
        OutputError: the user has no home folder, and none can be made in its place.
    """
    override = os.environ.get("IMGCLS_CACHE")
    if override:
        return _expanded(override)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = _home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache")
    return base / "imgcls"


def weights_folder() -> Path:
    """Where pretrained weights are cached: the folder that `torch.hub` uses.

    Computed here so that a look into the cache costs no `import torch`.

    Raises:
        OutputError: as `cache_folder`.
    Source: torch.hub.get_dir, `$TORCH_HOME` or `$XDG_CACHE_HOME/torch` or `~/.cache/torch`, then `hub/checkpoints`.
    """
    base = os.environ.get("TORCH_HOME") or str(Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "torch")
    return _expanded(base) / "hub" / "checkpoints"


def datasets_folder() -> Path:
    """Where downloaded data sets are unpacked."""
    return cache_folder() / "datasets"


def is_offline() -> bool:
    """Whether `IMGCLS_OFFLINE` forbids the network (any value but empty and 0)."""
    return os.environ.get("IMGCLS_OFFLINE", "") not in ("", "0")


def _expanded(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError as exc:
        raise OutputError(f"{text}: there is no such home folder", hint=HINT) from exc


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:
        # A container's user without a name, and without $HOME.
        return _temporary_home()


def _temporary_home() -> Path:
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"imgcls-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as exc:
        raise OutputError(f"there is no home folder, and {folder} can't be made: {exc.strerror}", hint=HINT) from exc
    # Anybody may make a folder there; what lies in this one is trusted.
    is_ours = not hasattr(os, "getuid") or (status.st_uid == os.getuid() and not status.st_mode & 0o022)
    if not stat.S_ISDIR(status.st_mode) or not is_ours:
        raise OutputError(f"there is no home folder, and {folder} is not this user's alone", hint=HINT)
    return folder
