"""Choosing the device, with the reason for the choice."""

from dataclasses import dataclass

import torch

from imgcls.errors import DeviceError, UsageError
from imgcls.host.terminal_text import counted

KINDS = ("cuda", "xpu", "mps", "cpu")
# What allocators other than CUDA's and XPU's say, which have no exception of their own: the CPU's, MPS's, C++'s,
# cuDNN's and cuBLAS's.
NO_MEMORY = ("can't allocate memory", "DefaultCPUAllocator", "out of memory", "std::bad_alloc", "STATUS_ALLOC_FAILED")
# All that oneDNN says where its own allocation fails. What it can't do at all goes on with "descriptor for the ...".
NO_MEMORY_ONEDNN = ("could not create a primitive", "could not create a memory object")


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A device and why it was chosen.

    Attributes:
        device: where the network and its batches go.
        reason: a clause for people, such as `first CUDA device`.
    """

    device: torch.device
    reason: str


def choose_device(request: str = "auto") -> DeviceChoice:
    """Turn `auto`, `cpu`, `cuda`, `cuda:1`, `mps` or `xpu` into a device that is really there.

    Args:
        request: what the user asked for.
    Raises:
        UsageError: not the name of a kind of device.
        DeviceError: the device isn't on this machine.
    """
    if request == "auto":
        for kind in KINDS[:-1]:
            if device_count(kind):
                return DeviceChoice(torch.device(kind, 0), f"first of {counted(device_count(kind), f'{kind} device')}")
        return DeviceChoice(torch.device("cpu"), "no accelerator found")
    try:
        device = torch.device(request)
    except RuntimeError as exc:
        raise UsageError(f"unknown device {request!r}", hint="use auto, cpu, cuda, cuda:1, mps or xpu") from exc
    if device.type not in KINDS:
        raise UsageError(f"unknown device {request!r}", hint="use auto, cpu, cuda, cuda:1, mps or xpu")
    count = device_count(device.type)
    if count == 0:
        raise DeviceError(
            f"device {request!r} is not available on this machine",
            hint="run 'imgcls env-check' to see why, or use --device auto",
        )
    if device.index is not None and device.index >= count:
        raise DeviceError(
            f"device {request!r} does not exist: {counted(count, f'{device.type} device')} found",
            hint=f"use {device.type}:0 to {device.type}:{count - 1}, or --device auto",
        )
    if device.type != "cpu" and device.index is None:
        device = torch.device(device.type, 0)
    return DeviceChoice(device, "asked for")


def device_count(kind: str) -> int:
    """How many devices of a kind (`cpu`, `cuda`, `mps`, `xpu`) can be used now; 0 where the driver is missing."""
    if kind == "cpu":
        return 1
    if kind == "mps":
        return int(torch.backends.mps.is_available())
    module = torch.cuda if kind == "cuda" else torch.xpu
    return module.device_count() if module.is_available() else 0


def supports_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic pays on the device: native on the GPU, or in the CPU's instruction set."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Without these instructions oneDNN emulates bfloat16, slower than float32.
        capabilities = torch.backends.cpu.get_cpu_capability()
        return "AVX512" in capabilities and _cpu_has_bfloat16()
    return device.type == "xpu"


def is_out_of_memory(exc: BaseException) -> bool:
    """Whether an exception of PyTorch's means that memory ran out."""
    if isinstance(exc, (MemoryError, torch.OutOfMemoryError)):
        return True
    if not isinstance(exc, RuntimeError):
        return False
    return str(exc) in NO_MEMORY_ONEDNN or any(words in str(exc) for words in NO_MEMORY)


def supports_float16(device: torch.device) -> bool:
    """Whether float16 arithmetic pays on the device: tensor cores, or another GPU that has it in hardware."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (7, 0)
    return device.type in ("mps", "xpu")


def _cpu_has_bfloat16() -> bool:
    # torch offers no public query before 2.12 and names it differently since.
    cpu = getattr(torch, "cpu", None)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        query = getattr(cpu, name, None)
        if query is not None and query():
            return True
    return False
