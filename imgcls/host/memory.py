"""How much memory is left, to decide whether a data set is held or streamed."""

import os
import sys
from pathlib import Path

# Assumed where the platform doesn't say: what a small laptop has to spare.
UNKNOWN_BYTES = 4 * 2**30


def available_bytes() -> int:
    """Memory that can be taken without swapping: the machine's, or what a container's limit leaves of it."""
    if sys.platform == "win32":
        return _windows_bytes()
    found = [amount for amount in (_meminfo_bytes(), _cgroup_bytes()) if amount is not None]
    if found:
        return min(found)
    try:
        # macOS gives only the total; half of it is a guess at what other programs leave.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError):
        return UNKNOWN_BYTES


def _meminfo_bytes() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _cgroup_bytes() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        used = int((folder / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        # No such file outside a container, and the word "max" in one without a limit.
        return None
    return max(limit - used, 0)


def _windows_bytes() -> int:
    import ctypes

    class MemoryStatus(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "available", "p1", "p2", "v1", "v2", "v3")),
        )

    status = MemoryStatus(length=ctypes.sizeof(MemoryStatus))
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - absent from the type stubs of other platforms
    return int(status.available) if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else UNKNOWN_BYTES
