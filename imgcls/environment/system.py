"""The machine below torch: interpreter, operating system, cores, memory."""

import contextlib
import platform
import struct
import subprocess
import sys
from pathlib import Path

from imgcls.environment.report import Check, Status
from imgcls.host.resources import Cores, Memory, read_cores, read_memory

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


def check_cores(cores: Cores | None = None) -> Check:
    """Count the cores that this process may use: the machine's, its affinity, its group's quota."""
    cores = cores or read_cores()
    detail = f"{cores.usable} of {cores.total} usable"
    if cores.affinity < cores.total:
        detail += f", affinity {cores.affinity}"
    if cores.group_limit is not None:
        detail += f", group limit {cores.group_limit:g}"
    processor = processor_name()
    data = {**cores._asdict(), "processor": processor}
    return Check("cores", Status.OK, f"{detail}; {processor}" if processor else detail, data=data)


def check_memory(memory: Memory | None = None) -> Check:
    """Read memory in all and available now, under the group's limit where there is one."""
    memory = memory or read_memory()
    total, available, limit = (
        None if amount is None else amount / MIB
        for amount in (memory.total_bytes, memory.available_bytes, memory.group_limit_bytes)
    )
    data = {"total_mib": rounded(total), "available_mib": rounded(available), "group_limit_mib": rounded(limit)}
    if total is None:
        return Check("memory", Status.WARNING, "this system does not tell how much there is", data=data)
    detail = f"{total / 1024:.1f} GiB{' (group limit)' if limit == total else ''}"
    if available is None:
        return Check("memory", Status.OK, detail, data=data)
    detail += f", {available / 1024:.1f} GiB available"
    if available < LOW_MEMORY_MIB:
        advice = f"AlexNet takes about {LOW_MEMORY_MIB / 1024:.0f} GiB: close programs, or use -m cifar10-cnn"
        return Check("memory", Status.WARNING, detail, advice, data)
    return Check("memory", Status.OK, detail, data=data)


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
