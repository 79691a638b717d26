"""How much memory this process, or its part of a device, has taken at most."""

import sys

import torch


def peak_host_bytes() -> int | None:
    """The most physical memory that this process has held since it began; None where the platform doesn't say."""
    if sys.platform == "win32":
        return _windows_peak()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, the others KiB.
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_device_bytes(device: torch.device) -> None:
    """Begin to measure anew."""
    if device.type in ("cuda", "xpu"):
        getattr(torch, device.type).reset_peak_memory_stats(device)


def peak_device_bytes(device: torch.device) -> int | None:
    """The most memory that tensors have taken on a device since `reset_peak_device_bytes`; None on the CPU.

    MPS knows no peak: there it is what the driver holds now, which it is slow to give back.
    """
    if device.type in ("cuda", "xpu"):
        return int(getattr(torch, device.type).max_memory_allocated(device))
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    return None


def total_device_bytes(device: torch.device) -> int | None:
    """The memory that a device has; None on the CPU and where it isn't known."""
    if device.type in ("cuda", "xpu"):
        return int(getattr(torch, device.type).get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return None


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given, so that a clock can be read."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _windows_peak() -> int | None:
    import ctypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("size", ctypes.c_ulong),
            ("page_faults", ctypes.c_ulong),
            *((name, ctypes.c_size_t) for name in ("peak", "working_set", "q1", "q2", "q3", "q4", "page", "peak_page")),
        )

    counters = Counters(size=ctypes.sizeof(Counters))
    dll = getattr(ctypes, "windll")  # noqa: B009 - absent from the type stubs of other platforms
    dll.kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(dll.kernel32.GetCurrentProcess())
    found = dll.psapi.GetProcessMemoryInfo(process, ctypes.byref(counters), counters.size)
    return int(counters.peak) if found else None
