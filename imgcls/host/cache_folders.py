"""Where files that outlive a command are kept."""

import os
import sys
from pathlib import Path


def cache_folder() -> Path:
    """The user's cache for decoded data sets, remembered digests and downloaded data.

    `IMGCLS_CACHE` overrides the platform's place. The folder need not exist yet.
    """
    override = os.environ.get("IMGCLS_CACHE")
    if override:
        return Path(override).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "imgcls"


def weights_folder() -> Path:
    """Where pretrained weights are cached: the folder that `torch.hub` uses.

    Computed here so that a look into the cache costs no `import torch`.

    Source: torch.hub.get_dir, `$TORCH_HOME` or `$XDG_CACHE_HOME/torch` or `~/.cache/torch`, then `hub/checkpoints`.
    """
    base = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "torch"
    return Path(base).expanduser() / "hub" / "checkpoints"


def datasets_folder() -> Path:
    """Where downloaded data sets are unpacked."""
    return cache_folder() / "datasets"


def is_offline() -> bool:
    """Whether `IMGCLS_OFFLINE` forbids the network (any value but empty and 0)."""
    return os.environ.get("IMGCLS_OFFLINE", "") not in ("", "0")
