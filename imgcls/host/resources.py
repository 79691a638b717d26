"""How many cores and how much memory this process may use: the machine's, its affinity's, its container's.

The one place that knows; env-check, decoding, training and the dry run all ask here.
"""

import functools
import math
import os
import sys
from pathlib import Path
from typing import NamedTuple

from imgcls.host.cgroups import ControlGroups, Limits

# Assumed where the platform doesn't say: what a small laptop has to spare.
UNKNOWN_BYTES = 4 * 2**30
THREADS_VARIABLE = "OMP_NUM_THREADS"
# Torch's own, read when it first allocates.
LARGE_PAGES_VARIABLE = "THP_MEM_ALLOC_ENABLE"


class Cores(NamedTuple):
    """Cores, and what limits them.

    Attributes:
        usable: how many threads can run at once, at least 1.
        total: of the machine.
        affinity: those that this process may run on.
        group_limit: what its control groups allow, in cores, or None; may be a fraction, of which each begun one counts
            as usable.
    """

    usable: int
    total: int
    affinity: int
    group_limit: float | None


class Memory(NamedTuple):
    """Memory, and what limits it.

    Attributes:
        total_bytes: the machine's, or its control groups' limit where that is lower; None where unknown.
        available_bytes: what can be taken without swapping, page cache included; None where unknown.
        group_limit_bytes: what its control groups allow, or None.
    """

    total_bytes: int | None
    available_bytes: int | None
    group_limit_bytes: int | None


def read_cores(groups: ControlGroups | None = None) -> Cores:
    """Count the cores: the machine's, those of this process's affinity, those of its control groups' quota."""
    total = os.cpu_count() or 1
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    limit = _own_quota() if groups is None else groups.read_limits().cores
    usable = affinity if limit is None else min(affinity, math.ceil(limit))
    return Cores(max(usable, 1), total, affinity, limit)


def read_memory(groups: ControlGroups | None = None, *, meminfo: Path = Path("/proc/meminfo")) -> Memory:
    """Read memory in all and available now, under the control groups' limits where there are any.

    Args:
        groups: where the kernel shows them; the usual place by default.
        meminfo: where Linux tells the machine's memory.
    """
    total, available = _windows_bytes() if sys.platform == "win32" else _machine_bytes(meminfo)
    limits: Limits = (groups or ControlGroups()).read_limits()
    return Memory(_least(total, limits.memory_bytes), _least(available, limits.memory_left_bytes), limits.memory_bytes)


def available_cores() -> int:
    """Cores that this process may use, which can be fewer than the machine has."""
    return read_cores().usable


def available_bytes() -> int:
    """Memory that can be taken without swapping; a cautious guess where the platform doesn't say."""
    memory = read_memory()
    if memory.available_bytes is not None:
        return memory.available_bytes
    # macOS gives only the total; half of it is a guess at what other programs leave.
    return UNKNOWN_BYTES if memory.total_bytes is None else memory.total_bytes // 2


def obey_core_limit(groups: ControlGroups | None = None) -> None:
    """Tell numerical libraries that are yet to be imported, here and in child processes, of a control group's quota.

    They know a process's affinity alone, and threads beyond the quota only make each other wait.
    """
    cores = read_cores(groups)
    if cores.usable < cores.affinity:
        os.environ.setdefault(THREADS_VARIABLE, str(cores.usable))


@functools.cache
def _own_quota() -> float | None:
    # Unlike the memory that is left, it stays; and reading the files of all groups takes a millisecond each time.
    return ControlGroups().read_limits().cores


def prefer_large_pages() -> None:
    """Let torch, which has not allocated anything yet, ask Linux for pages of 2 MiB for large tensors on the CPU.

    Each layer's output is new memory, which the system hands over, zeroed, page by page: with 4 KiB pages that takes
    two thirds of efficientnet-lite0's time on a batch of 32, and a quarter of ResNet-50's.
    """
    os.environ.setdefault(LARGE_PAGES_VARIABLE, "1")


def _least(*amounts: int | None) -> int | None:
    return min((amount for amount in amounts if amount is not None), default=None)


def _machine_bytes(meminfo: Path) -> tuple[int | None, int | None]:
    try:
        lines = meminfo.read_text(encoding="utf-8").splitlines()
        kib = {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
        return kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), None
    except (AttributeError, ValueError, OSError):
        return None, None


def _windows_bytes() -> tuple[int | None, int | None]:
    import ctypes

    class MemoryStatus(ctypes.Structure):
        # MEMORYSTATUSEX of sysinfoapi.h.
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "available", *"abcde")),
        )

    status = MemoryStatus()
    status.length = ctypes.sizeof(status)
    kernel32 = getattr(ctypes, "windll").kernel32  # noqa: B009 - exists on Windows only, which mypy knows
    if not kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None, None
    return status.total, status.available
