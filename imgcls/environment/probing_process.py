"""The second process, in which torch is imported and the devices are tried.

A driver that crashes or hangs takes this process with it and not the report. It writes a line of JSON when a step
begins and one when it ends, so that whoever reads them knows where it stopped.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TextIO

from imgcls.environment import packages
from imgcls.environment.report import Check, Status


def main(request: str) -> None:
    """Try packages and devices, and report on stdout.

    Args:
        request: `auto` for every device, else the only one to try.
    """
    report = _private_stdout()
    # What breaks least comes first, so that it is told before the rest can take the process down.
    _attempt(report, "pillow", packages.check_pillow)
    _attempt(report, "numpy", packages.check_numpy)
    torch_check = _attempt(report, "torch", packages.check_torch)
    if "build" not in torch_check.data:
        return
    _attempt(report, "torchvision", packages.check_torchvision)

    # Only now, because it needs torch.
    from imgcls.environment import devices

    if request == "auto" or request.startswith("cpu"):
        _attempt(report, "device:cpu", lambda: devices.check_device("cpu"))
    if request.startswith("cpu"):
        return
    _write(report, begin="accelerators")
    accelerators = devices.look_for_accelerators()
    _write(report, accelerators=asdict(accelerators))
    if request == "auto":
        for name in devices.names_of(accelerators.counts):
            _attempt(report, f"device:{name}", lambda name=name: devices.check_device(name))  # type: ignore[misc]
        _attempt(report, "auto", devices.check_auto)
    else:
        _attempt(report, f"device:{request}", lambda: devices.check_requested(request))


def _attempt(report: TextIO, name: str, probe: Callable[[], Check]) -> Check:
    _write(report, begin=name)
    try:
        check = probe()
    except packages.FAILURES as exc:
        check = Check(name, Status.FAULT, f"could not be tried: {packages.one_line(exc)}")
    _write(report, check=check.to_dict())
    return check


def _write(report: TextIO, **line: Any) -> None:
    report.write(json.dumps(line) + "\n")
    report.flush()


def _private_stdout() -> TextIO:
    # Whatever packages and drivers print from now on goes to stderr, so that the report stays parseable.
    sys.stdout.flush()
    report = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    return report
