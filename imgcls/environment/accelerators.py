"""Which accelerators there are, and why torch doesn't see one that should be there.

The driver is asked here, without torch; what torch sees comes from the process that could import it.
`judge_accelerators` puts both together.
"""

import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imgcls.environment.report import Check, Status
from imgcls.host.terminal_text import counted

NVIDIA_SMI_LIMIT_SEC = 20
REINSTALL = "pip install --force-reinstall torch torchvision"


@dataclass(frozen=True, slots=True)
class NvidiaDriver:
    """What the machine says of NVIDIA's driver, without torch.

    Attributes:
        version: of the driver; empty where none is loaded.
        cards: names of the cards that the driver lists.
        hardware: how many NVIDIA graphics processors stand on the bus; None where the system does not tell.
        problem: what nvidia-smi complained of; empty where it didn't.
    """

    version: str = ""
    cards: tuple[str, ...] = ()
    hardware: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class TorchAccelerators:
    """What torch says of accelerators.

    Attributes:
        cuda_build: CUDA version that torch was built for; empty for a build without.
        hip_build: the same for AMD's ROCm, which torch presents as CUDA.
        xpu_build: whether Intel's XPU is built in.
        mps_build: whether Apple's MPS is built in.
        counts: usable devices by kind (`cuda`, `xpu`, `mps`).
        problem: what torch warned of while it looked.
    """

    cuda_build: str
    hip_build: str
    xpu_build: bool
    mps_build: bool
    counts: dict[str, int]
    problem: str = ""


def probe_nvidia_driver() -> NvidiaDriver:
    """Ask nvidia-smi, the loaded kernel module and the PCI bus, as far as each is there."""
    hardware = _nvidia_hardware()
    command = shutil.which("nvidia-smi")
    if command is None:
        return NvidiaDriver(version=kernel_module_version(), hardware=hardware)
    query = (command, "--query-gpu=driver_version,name", "--format=csv,noheader")
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=NVIDIA_SMI_LIMIT_SEC, check=False)
    except subprocess.TimeoutExpired:
        problem = f"nvidia-smi did not answer within {NVIDIA_SMI_LIMIT_SEC} s"
        return NvidiaDriver(version=kernel_module_version(), hardware=hardware, problem=problem)
    except OSError as exc:
        return NvidiaDriver(version=kernel_module_version(), hardware=hardware, problem=f"nvidia-smi: {exc.strerror}")
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not lines:
        complaint = next(iter((done.stdout + done.stderr).strip().splitlines()), "nvidia-smi lists no card")
        return NvidiaDriver(version=kernel_module_version(), hardware=hardware, problem=complaint)
    versions, _, _ = lines[0].partition(",")
    cards = tuple(line.partition(",")[2].strip() for line in lines)
    return NvidiaDriver(version=versions.strip(), cards=cards, hardware=hardware)


def judge_accelerators(torch_sees: TorchAccelerators, driver: NvidiaDriver, *, visible_devices: str | None) -> Check:
    """Compare what torch sees with what the machine has.

    Args:
        torch_sees: from the process that imported torch.
        driver: from this machine.
        visible_devices: the value of `CUDA_VISIBLE_DEVICES`, None where it isn't set.
    Returns:
        The line `accelerators`. A card that lies idle is a warning: the CPU does the same work, only slower.
    """
    counts = torch_sees.counts
    data: dict[str, Any] = {
        "torch": asdict(torch_sees),
        "nvidia_driver": asdict(driver),
        "cuda_visible_devices": visible_devices,
    }
    detail = f"{_cuda_words(torch_sees, driver)}; {_other_words(torch_sees)}"
    if counts["cuda"] or torch_sees.hip_build:
        return Check("accelerators", Status.OK, detail, data=data)
    finding, advice = _why_no_cuda(torch_sees, driver, visible_devices)
    if finding:
        return Check("accelerators", Status.WARNING, f"{finding} ({detail})", advice, data)
    return Check("accelerators", Status.OK, detail, data=data)


def _why_no_cuda(torch_sees: TorchAccelerators, driver: NvidiaDriver, visible_devices: str | None) -> tuple[str, str]:
    """The finding and the advice, both empty where no NVIDIA card seems to be missing."""
    has_driver = bool(driver.version)
    if has_driver and not torch_sees.cuda_build:
        return (
            f"NVIDIA driver {driver.version} is here, but this torch is built without CUDA, so the card lies idle",
            f"take a CUDA build of both, from one place, in one command: {REINSTALL}",
        )
    if has_driver and visible_devices is not None and not _shows_a_card(visible_devices):
        return (
            f"CUDA_VISIBLE_DEVICES={visible_devices!r} hides the cards from torch",
            "unset CUDA_VISIBLE_DEVICES to use them",
        )
    if has_driver:
        reason = torch_sees.problem or driver.problem or "torch does not say why"
        too_old = "too old" in reason
        advice = (
            f"update the NVIDIA driver to one that serves CUDA {torch_sees.cuda_build}, or take a build of torch and "
            "torchvision for an older CUDA"
            if too_old
            else "run nvidia-smi; restart the machine, or reinstall the driver; in a container, pass the card to it"
        )
        return f"NVIDIA driver {driver.version} is here, but torch sees no card: {reason}", advice
    if driver.hardware:
        return (
            f"{counted(driver.hardware, 'NVIDIA card')} in this machine but no driver that answers"
            + (f": {driver.problem}" if driver.problem else ""),
            "install NVIDIA's driver, or ignore this and use the CPU",
        )
    if driver.problem:
        return driver.problem, "repair or remove NVIDIA's driver, or ignore this and use the CPU"
    return "", ""


def _shows_a_card(visible_devices: str) -> bool:
    # CUDA reads the list up to the first entry that names nothing; an empty string or -1 hides all cards.
    first = visible_devices.split(",")[0].strip()
    return bool(first) and not first.startswith("-") and first.lower() not in ("none", "nodevfiles", "void")


def _cuda_words(torch_sees: TorchAccelerators, driver: NvidiaDriver) -> str:
    if torch_sees.hip_build:
        return f"ROCm {torch_sees.hip_build}: {counted(torch_sees.counts['cuda'], 'device')}, named cuda"
    words = f"CUDA: torch built {f'for {torch_sees.cuda_build}' if torch_sees.cuda_build else 'without'}"
    words += f", {f'NVIDIA driver {driver.version}' if driver.version else 'no NVIDIA driver'}"
    return words + f", {counted(torch_sees.counts['cuda'], 'device')}"


def _other_words(torch_sees: TorchAccelerators) -> str:
    kinds = (("XPU", torch_sees.xpu_build, "xpu"), ("MPS", torch_sees.mps_build, "mps"))
    return "; ".join(
        f"{name}: {counted(torch_sees.counts[kind], 'device') if built else 'not in this build'}"
        for name, built, kind in kinds
    )


def kernel_module_version() -> str:
    # "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  ..."; there also where nvidia-smi isn't installed.
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").splitlines()[0].split()
    except (OSError, IndexError):
        return ""
    return next((word for word in words if word[0].isdigit() and "." in word), "")


def _nvidia_hardware(bus: Path = Path("/sys/bus/pci/devices")) -> int | None:
    if not bus.is_dir():
        return None
    count = 0
    for device in bus.iterdir():
        try:
            vendor = (device / "vendor").read_text(encoding="ascii").strip()
            kind = (device / "class").read_text(encoding="ascii").strip()
        except OSError:
            continue
        # 0x10de is NVIDIA; classes 0x03.... are display and 3D controllers.
        count += vendor == "0x10de" and kind.startswith("0x03")
    return count
