"""What torch makes of this machine's devices. Runs in the probing process, after torch was imported."""

import warnings
from collections.abc import Iterator
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING

from imgcls.environment.accelerators import TorchAccelerators
from imgcls.environment.forward_backward import (
    CPU_TOLERANCE,
    DEVICE_TOLERANCE,
    PassAnswer,
    compare,
    run_pass,
)
from imgcls.environment.packages import FAILURES, one_line
from imgcls.environment.report import Check, DeviceResult, Status
from imgcls.environment.system import processor_name, rounded
from imgcls.errors import ImgclsError
from imgcls.host.resources import read_memory

if TYPE_CHECKING:
    import torch

MIB = 2**20


def look_for_accelerators() -> TorchAccelerators:
    """Count what torch can use; this is where a broken driver shows."""
    import torch

    from imgcls.host.devices import KINDS, device_count

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        counts = {kind: device_count(kind) for kind in KINDS if kind != "cpu"}
    # torch explains a driver that it can't use in a warning, and then counts no device.
    said = " ".join(str(warning.message).splitlines()[0] for warning in caught)
    return TorchAccelerators(
        cuda_build=torch.version.cuda or "",
        hip_build=torch.version.hip or "",
        xpu_build=getattr(torch.version, "xpu", None) is not None,
        mps_build=torch.backends.mps.is_built(),
        counts=counts,
        problem=said,
    )


def names_of(counts: dict[str, int]) -> Iterator[str]:
    """Every accelerator by the name that `--device` takes."""
    for kind, count in counts.items():
        if kind == "mps" and count:
            yield kind
        else:
            yield from (f"{kind}:{index}" for index in range(count))


def check_device(name: str) -> Check:
    """Run a forward and a backward pass on a device and compare them with the CPU's.

    Args:
        name: such as `cuda:0`; the CPU itself is compared with its own float64.
    """
    import torch

    device = torch.device(name)
    is_cpu = device.type == "cpu"
    tolerance = CPU_TOLERANCE if is_cpu else DEVICE_TOLERANCE
    reference_name = "cpu float64" if is_cpu else "cpu float32"
    card, memory, bfloat16 = _describe(device)
    facts = f"{card or device.type}"
    facts += f", {memory / 1024:.1f} GiB" if memory and not is_cpu else ""
    facts += f", bf16 {'yes' if bfloat16 else 'no'}"
    result = DeviceResult(name, card, rounded(memory), bfloat16, False, reference_name, tolerance)
    try:
        answer = run_pass(device, torch.float32) if not is_cpu else _cpu_answer(torch.float32)
    except FAILURES as exc:
        detail = f"{facts}; forward and backward pass failed: {one_line(exc)}"
        return Check(f"device:{name}", Status.FAULT, detail, _advice_for(str(exc), name), asdict(result))
    outcome = compare(answer, _cpu_answer(torch.float64 if is_cpu else torch.float32), tolerance=tolerance)
    result = DeviceResult(
        device=name,
        name=card,
        memory_mib=rounded(memory),
        bfloat16=bfloat16,
        works=outcome.agrees,
        compared_with=reference_name,
        tolerance=tolerance,
        # JSON has no word for infinity.
        loss_difference=_finite(outcome.loss_difference),
        gradient_difference=_finite(outcome.gradient_difference),
        pass_ms=round(answer.pass_ms, 2),
    )
    largest = max(outcome.loss_difference, outcome.gradient_difference)
    if not outcome.agrees:
        detail = (
            f"{facts}; WRONG ANSWERS: loss off by {outcome.loss_difference:.1e}, gradient of {outcome.worst_parameter} "
            f"by {outcome.gradient_difference:.1e} of {reference_name}'s; allowed {tolerance:.0e}"
        )
        advice = f"don't use {name}: update its driver and torch, or test its memory" + (
            "" if is_cpu else "; meanwhile --device cpu"
        )
        return Check(f"device:{name}", Status.FAULT, detail, advice, asdict(result))
    detail = (
        f"{facts}; forward and backward agree with {reference_name} to {largest:.0e} (allowed {tolerance:.0e}), "
        f"{answer.pass_ms:.1f} ms"
    )
    return Check(f"device:{name}", Status.OK, detail, data=asdict(result))


def _describe(device: "torch.device") -> tuple[str, float | None, bool]:
    """Name, memory in MiB and bf16; unknown where the device doesn't tell, which the pass itself will explain."""
    import torch

    from imgcls.host.devices import supports_bfloat16

    card, memory, bfloat16 = "", None, False
    try:
        if device.type == "cpu":
            total = read_memory().total_bytes
            card, memory = processor_name(), None if total is None else total / MIB
        elif device.type == "mps":
            card, memory = "Apple GPU", torch.mps.recommended_max_memory() / MIB
        else:
            properties = (torch.cuda if device.type == "cuda" else torch.xpu).get_device_properties(device)
            card, memory = str(properties.name), properties.total_memory / MIB
        bfloat16 = bool(supports_bfloat16(device))
    except FAILURES:
        pass
    return card, memory, bfloat16


@cache
def _cpu_answer(dtype: "torch.dtype") -> PassAnswer:
    import torch

    return run_pass(torch.device("cpu"), dtype)


def _advice_for(message: str, name: str) -> str:
    if "out of memory" in message.lower():
        return f"another program holds the memory of {name}: end it, or use another device"
    if "no kernel image" in message:
        return "this torch has no code for that card: take a build of torch and torchvision that serves it"
    return "update the driver and torch" + ("" if name == "cpu" else "; meanwhile --device cpu")


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def check_requested(request: str) -> Check:
    """Try the one device that was asked for; a fault where it isn't there."""
    from imgcls.host.devices import choose_device

    try:
        return check_device(str(choose_device(request).device))
    except ImgclsError as exc:
        return Check(f"device:{request}", Status.FAULT, exc.message, "see the line 'accelerators', or use --device cpu")


def check_auto() -> Check:
    """Name the device that `--device auto` picks, and why."""
    from imgcls.host.devices import choose_device

    choice = choose_device("auto")
    data = {"device": str(choice.device), "reason": choice.reason}
    return Check("auto", Status.OK, f"--device auto picks {choice.device}: {choice.reason}", data=data)
