"""How much of the machine this process may use: the limits that containers and batch systems set on Linux.

Source: the kernel's admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst and scheduler/sched-bwc.rst for version 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

MIB = 2**20
# Version 1 writes "no limit" as the largest multiple of a page below 2**63.
NO_LIMIT = 2**60


@dataclass(frozen=True, slots=True)
class Limits:
    """The tightest limit of all groups that this process is in; None where there is none.

    Attributes:
        cores: processor time a second, in cores; may be a fraction.
        memory_mib: most memory, in MiB.
        memory_used_mib: of that, in use and not reclaimable, in MiB.
    """

    cores: float | None = None
    memory_mib: float | None = None
    memory_used_mib: float | None = None


def read_limits(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Limits:
    """Read the limits of this process.

    Args:
        root: where the kernel shows the groups.
        membership: the file that names this process's groups.
    Returns:
        Nothing but None outside Linux, or where the files can't be read.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return Limits()
    cores: list[float] = []
    memory: list[tuple[float, float | None]] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        for folder in _folders(root, controllers, group):
            cores += _cores(folder)
            memory += _memory(folder)
    if not memory:
        return Limits(cores=min(cores, default=None))
    limit, used = min(memory, key=lambda pair: pair[0])
    return Limits(min(cores, default=None), limit, used)


def _folders(root: Path, controllers: str, group: str) -> Iterator[Path]:
    # A container may see its own group as the root while the path is still the host's: missing folders are passed over.
    bases = (root / controllers, *(root / name for name in controllers.split(","))) if controllers else (root,)
    parts = PurePosixPath(group).relative_to("/").parts if group.startswith("/") else ()
    for base in dict.fromkeys(bases):
        for depth in range(len(parts), -1, -1):
            folder = base.joinpath(*parts[:depth])
            if folder.is_dir():
                yield folder


def _cores(folder: Path) -> list[float]:
    quota, _, period = _first_line(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _first_line(folder / "cpu.cfs_quota_us"), _first_line(folder / "cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return []
    return [int(quota) / int(period)]


def _memory(folder: Path) -> list[tuple[float, float | None]]:
    for limit_name, used_name, cached_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit = _first_line(folder / limit_name)
        if limit.isdigit() and int(limit) < NO_LIMIT:
            used = _first_line(folder / used_name)
            return [(int(limit) / MIB, _used_mib(int(used), folder, cached_name) if used.isdigit() else None)]
    return []


def _used_mib(used_bytes: int, folder: Path, cached_name: str) -> float:
    # Cached files count as used but are given back as soon as somebody needs the memory.
    try:
        lines = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    cached = [int(value) for name, _, value in (line.partition(" ") for line in lines) if name == cached_name]
    return max(used_bytes - sum(cached), 0) / MIB


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip().partition("\n")[0]
    except OSError:
        return ""
