"""Checking the whole machine: every probe once, all of them in one report."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace

from imgcls.environment.accelerators import NvidiaDriver, judge_accelerators, probe_nvidia_driver
from imgcls.environment.caches import check_cache, check_disk, probe_caches, probe_offline
from imgcls.environment.installation import check_extras, check_imgcls
from imgcls.environment.report import AutoDevice, Check, DeviceResult, EnvironmentReport, Status
from imgcls.environment.second_process import ProbeOutcome, probing, read_outcome, stopped_check
from imgcls.environment.system import check_cores, check_memory, check_python, check_system
from imgcls.errors import DeviceError, UsageError
from imgcls.host.versions import versions

# Importing torch from a cold network disk takes a minute, the first touch of each card seconds.
TIME_LIMIT_SEC = 300.0
DEVICE_PATTERN = re.compile(r"auto|(cpu|cuda|mps|xpu)(:\d+)?")

STANDS_ON = {"torch": ("numpy",), "torchvision": ("numpy", "pillow")}


def check_environment(device: str = "auto", *, time_limit_sec: float = TIME_LIMIT_SEC) -> EnvironmentReport:
    """Try everything that imgcls needs of this machine; works where torch doesn't.

    Args:
        device: `auto` for every device, else the only one to try (`cpu` touches no driver).
        time_limit_sec: how long importing torch and trying the devices may take in all.
    Raises:
        UsageError: not the name of a device.
        DeviceError: no second process can be started.
    """
    if not DEVICE_PATTERN.fullmatch(device):
        raise UsageError(f"unknown device {device!r}", hint="use auto, cpu, cuda, cuda:1, mps or xpu")
    only_cpu = device.startswith("cpu")
    try:
        # torch is imported there while everything else is tried here.
        with probing(device) as process:
            caches = probe_caches()
            offline, offline_check = probe_offline(caches[0], caches[1])
            driver = NvidiaDriver() if only_cpu else probe_nvidia_driver()
            machine = [
                check_imgcls(),
                check_python(),
                check_system(),
                check_cores(),
                check_memory(),
                check_disk(caches),
            ]
            outcome = read_outcome(process, time_limit_sec=time_limit_sec)
    except OSError as exc:
        hint = "check that the machine has processes and memory left"
        raise DeviceError(f"can't start a second process: {exc.strerror or exc}", hint=hint) from exc
    checks = [
        *machine,
        *_torch_checks(outcome, driver, device),
        check_extras(),
        *(check_cache(result) for result in caches),
        offline_check,
    ]
    return EnvironmentReport(
        checks=tuple(checks),
        versions=_versions(checks),
        devices=tuple(DeviceResult(**check.data) for check in outcome.checks if _is_device_answer(check)),
        caches=caches,
        auto_device=next((AutoDevice(**check.data) for check in outcome.checks if check.name == "auto"), None),
        offline=offline,
    )


def _torch_checks(outcome: ProbeOutcome, driver: NvidiaDriver, request: str) -> list[Check]:
    """The probing process's checks in the order in which they are shown, and a line for each that is missing."""
    found = {check.name: check for check in outcome.checks}
    if outcome.accelerators is not None:
        found["accelerators"] = judge_accelerators(
            outcome.accelerators, driver, visible_devices=os.environ.get("CUDA_VISIBLE_DEVICES")
        )
    expected = ["torch", "torchvision", "numpy", "pillow"]
    if not request.startswith("cpu"):
        expected.append("accelerators")
    if request == "auto":
        expected.append("device:cpu")
    expected += [name for name in found if name.startswith("device:") and name not in expected]
    if outcome.stopped_at.startswith("device:") and outcome.stopped_at not in expected:
        expected.append(outcome.stopped_at)
    if not any(name.startswith("device:") for name in expected):
        expected.append(f"device:{request}")
    if request == "auto":
        expected.append("auto")
    return _blame_the_cause([found.get(name) or _missing(name, outcome, expected) for name in expected])


def _missing(name: str, outcome: ProbeOutcome, expected: Sequence[str]) -> Check:
    stopped_at = outcome.stopped_at
    if stopped_at and (name == stopped_at or (stopped_at not in expected and name == expected[0])):
        return stopped_check(name, outcome)
    cause = f"the probing process stopped at {stopped_at}" if stopped_at else "torch can't be imported"
    return Check(name, Status.WARNING, f"not tried: {cause}")


def _blame_the_cause(checks: Sequence[Check]) -> list[Check]:
    """Send the reader to the package that broke another one, instead of to the one that shows it."""
    faulty = {check.name for check in checks if check.status is Status.FAULT}
    blamed = []
    for check in checks:
        causes = [name for name in STANDS_ON.get(check.name, ()) if name in faulty and check.name in faulty]
        blamed.append(replace(check, advice=f"mend {' and '.join(causes)} first") if causes else check)
    return blamed


def _versions(checks: Sequence[Check]) -> dict[str, str]:
    # What a package says of itself when imported names the build too (2.15.0+cpu), which its record does not.
    imported = {check.name: check.data.get("version") for check in checks}
    found = versions()
    for name in ("torch", "torchvision", "pillow", "numpy"):
        if imported.get(name):
            found[name] = str(imported[name])
    return found


def _is_device_answer(check: Check) -> bool:
    return check.name.startswith("device:") and bool(check.data)
