"""The machine below torch: interpreter, operating system, cores, memory."""

import contextlib
import ctypes
import math
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

from imgcls.environment.report import Check, Status
from imgcls.host.cgroups import Limits, read_limits

MIB = 2**20
# One image through AlexNet takes about 900 MiB for the whole process.
LOW_MEMORY_MIB = 1024.0


def check_python() -> Check:
    """Name the interpreter that runs imgcls, which need not be the one that `python` starts."""
    version = platform.python_version()
    implementation = platform.python_implementation()
    bits = struct.calcsize("P") * 8
    data = {"version": version, "implementation": implementation, "executable": sys.executable, "bits": bits}
    detail = f"{implementation} {version}, {sys.executable}"
    if bits < 64:
        return Check("python", Status.FAULT, f"{detail} ({bits} bit)", "torch needs a 64-bit Python; install one", data)
    return Check("python", Status.OK, detail, data=data)


def check_system() -> Check:
    """Name the operating system and the machine's kind."""
    name = platform.platform(terse=True)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            name = platform.freedesktop_os_release().get("PRETTY_NAME", name)
        name += f", kernel {platform.release()}"
    data = {"system": platform.system(), "release": platform.release(), "machine": platform.machine(), "name": name}
    return Check("system", Status.OK, f"{name}, {platform.machine()}", data=data)


def check_cores(limits: Limits | None = None) -> Check:
    """Count the cores that this process may use: the machine's, its affinity, its group's quota."""
    limits = read_limits() if limits is None else limits
    total = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    usable = max(min(allowed, math.ceil(limits.cores or allowed)), 1)
    detail = f"{usable} of {total} usable"
    if allowed < total:
        detail += f", affinity {allowed}"
    if limits.cores is not None:
        detail += f", group limit {limits.cores:g}"
    processor = processor_name()
    data = {"usable": usable, "total": total, "affinity": allowed, "group_limit": limits.cores, "processor": processor}
    return Check("cores", Status.OK, f"{detail}; {processor}" if processor else detail, data=data)


def check_memory(limits: Limits | None = None) -> Check:
    """Read memory in all and available now, under the group's limit where there is one."""
    limits = read_limits() if limits is None else limits
    total, available = memory_mib()
    if limits.memory_mib is not None and (total is None or limits.memory_mib < total):
        total = limits.memory_mib
        left = limits.memory_mib - (limits.memory_used_mib or 0.0)
        available = left if available is None else max(min(available, left), 0.0)
        source = " (group limit)"
    else:
        source = ""
    data = {"total_mib": rounded(total), "available_mib": rounded(available), "group_limit_mib": limits.memory_mib}
    if total is None:
        return Check("memory", Status.WARNING, "this system does not tell how much there is", data=data)
    detail = f"{total / 1024:.1f} GiB{source}"
    if available is None:
        return Check("memory", Status.OK, detail, data=data)
    detail += f", {available / 1024:.1f} GiB available"
    if available < LOW_MEMORY_MIB:
        advice = f"AlexNet takes about {LOW_MEMORY_MIB / 1024:.0f} GiB: close programs, or use -m cifar10-cnn"
        return Check("memory", Status.WARNING, detail, advice, data)
    return Check("memory", Status.OK, detail, data=data)


def memory_mib() -> tuple[float | None, float | None]:
    """Memory in all and available, in MiB; None for what the system does not tell."""
    if sys.platform == "win32":
        return _windows_memory_mib()
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        kib = {name: float(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
        return kib["MemTotal"] / 1024, kib["MemAvailable"] / 1024
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / MIB, None
    except (AttributeError, ValueError, OSError):
        return None, None


def _windows_memory_mib() -> tuple[float | None, float | None]:
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
    return status.total / MIB, status.available / MIB


def processor_name() -> str:
    """The processor's own name, or an empty string."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    if sys.platform == "darwin":
        try:
            command = ("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string")
            return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
        except (OSError, subprocess.SubprocessError):
            pass
    return platform.processor()


def rounded(value: float | None) -> float | None:
    """A figure short enough to read; None stays None."""
    return None if value is None else round(value, 1)
