"""How much of the machine this process may use: the limits that containers and batch systems set on Linux.

Source: the kernel's admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst and scheduler/sched-bwc.rst for version 1.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Version 1 writes "no limit" as the largest multiple of a page below 2**63.
NO_LIMIT = 2**60
# What the kernel gives back as soon as somebody needs the memory, in either version's memory.stat. Version 1 counts the
# groups below only in the lines that begin with "total_".
RECLAIMABLE = {
    "memory.max": ("inactive_file", "active_file", "slab_reclaimable"),
    "memory.limit_in_bytes": ("total_inactive_file", "total_active_file"),
}
USED = {"memory.max": "memory.current", "memory.limit_in_bytes": "memory.usage_in_bytes"}


class Limits(NamedTuple):
    """The tightest limits of all groups that this process is in; None where there is none.

    Attributes:
        cores: processor time a second, in cores; may be a fraction.
        memory_bytes: most memory.
        memory_left_bytes: what can still be taken, page cache that the kernel would give back included. Of all groups,
            the one with the least left, which need not be the one with the lowest limit.
    """

    cores: float | None = None
    memory_bytes: int | None = None
    memory_left_bytes: int | None = None


class ControlGroups(NamedTuple):
    """Where the kernel shows this process's groups.

    Attributes:
        root: the folder with all groups.
        membership: the file that names this process's groups.
    """

    root: Path = Path("/sys/fs/cgroup")
    membership: Path = Path("/proc/self/cgroup")

    def read_limits(self) -> Limits:
        """Read the limits of this process; nothing but None outside Linux, or where the files can't be read."""
        cores: list[float] = []
        memory: list[tuple[int, int]] = []
        for folder in dict.fromkeys(self._folders()):
            cores += _read_cores(folder)
            memory += _read_memory(folder)
        return Limits(
            min(cores, default=None),
            min((limit for limit, _left in memory), default=None),
            min((left for _limit, left in memory), default=None),
        )

    def _folders(self) -> Iterator[Path]:
        for line in _read(self.membership).splitlines():
            _, _, rest = line.partition(":")
            controllers, _, group = rest.partition(":")
            # Where both versions are in use, version 2 lies beside the controllers of version 1.
            names = (controllers, *controllers.split(",")) if controllers else ("", "unified")
            parts = PurePosixPath(group).parts[1:]
            if ".." in parts:
                # A process that was moved out of its namespace; what lies above can't be seen from here.
                parts = ()
            for name in names:
                # A container may see its own group as the root while the path is still the host's: missing folders are
                # passed over.
                for depth in range(len(parts), -1, -1):
                    yield (self.root / name).joinpath(*parts[:depth])


def _read_cores(folder: Path) -> list[float]:
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return []
    return [int(quota) / int(period)]


def _read_memory(folder: Path) -> list[tuple[int, int]]:
    """Limit and what is left of it, in bytes."""
    for name, used_name in USED.items():
        limit = _read(folder / name).strip()
        if limit.isdigit() and int(limit) < NO_LIMIT:
            used = _read(folder / used_name).strip()
            busy = int(used) - _read_reclaimable(folder, RECLAIMABLE[name]) if used.isdigit() else 0
            return [(int(limit), max(int(limit) - max(busy, 0), 0))]
    return []


def _read_reclaimable(folder: Path, names: tuple[str, ...]) -> int:
    pairs = (line.partition(" ") for line in _read(folder / "memory.stat").splitlines())
    return sum(int(value) for name, _, value in pairs if name in names and value.isdigit())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
