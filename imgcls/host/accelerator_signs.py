"""Whether this machine may have an accelerator, told without the second that importing torch takes."""

import os
import sys
from importlib import metadata
from pathlib import Path

# What the drivers put there for the builds of torch that use them: NVIDIA's (also below Windows), AMD's, Intel's.
LINUX_SIGNS = {
    "cu": ("dev/nvidia0", "dev/nvidiactl", "dev/dxg"),
    "rocm": ("dev/kfd", "dev/dxg"),
    "xpu": ("dev/dri", "dev/dxg"),
}
WINDOWS_SIGNS = {
    "cu": ("nvcuda.dll",),
    "rocm": ("amdhip64.dll", "amdhip64_6.dll", "amdhip64_7.dll"),
    "xpu": ("ze_loader.dll",),
}


def may_have_accelerator(*, build: str | None = None, root: Path | None = None) -> bool:
    """Whether `--device auto` may mean something else than the CPU; torch has the last word where it may.

    Args:
        build: of torch: `cu126`, `rocm6.2`, `xpu` or `cpu`; None for the one that is installed.
        root: below which the drivers' files are; None for this system's.
    """
    build = _torch_build() if build is None else build
    if build == "cpu":
        return False
    if sys.platform == "darwin":
        return True
    is_windows = sys.platform == "win32"
    if root is None:
        root = Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32") if is_windows else Path("/")
    signs = WINDOWS_SIGNS if is_windows else LINUX_SIGNS
    wanted = [sign for kind, names in signs.items() for sign in names if build.startswith(kind)]
    return any(os.path.exists(root / sign) for sign in wanted)  # noqa: PTH110 - never an error


def _torch_build() -> str:
    """A version that doesn't tell its build is one for CUDA, as PyPI's for Linux are."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        # No torch, no device of torch's.
        return "cpu"
    return version.partition("+")[2] or "cu"
