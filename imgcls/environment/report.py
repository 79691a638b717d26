"""What a check of the machine says: plain data, no part of which needs torch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

SCHEMA = 1


class Status(StrEnum):
    """How a check went: a fault stops some command of imgcls, a warning is worth knowing."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    Attributes:
        name: what was tried, such as `torch` or `device:cuda:0`; scripts match on it.
        status: how it went.
        detail: the finding, one line for people.
        advice: what to do next; empty where nothing is to be done.
        data: the finding for scripts, JSON values only.
    """

    name: str
    status: Status
    detail: str
    advice: str = ""
    data: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The check as JSON shows it; `advice` is left out where there is none."""
        values = asdict(self)
        if not self.advice:
            del values["advice"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Check":
        """The check that `to_dict` described."""
        return cls(**{**values, "status": Status(values["status"])})


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """One device and how it answered.

    Attributes:
        device: `cpu`, `cuda:0`, ...
        name: of the processor or the card; may be empty.
        memory_mib: in all, in MiB; None where the device does not tell.
        bfloat16: whether bfloat16 arithmetic pays on it.
        works: whether its forward and backward pass agreed with the reference.
        compared_with: the reference: `cpu float64` for the CPU itself, `cpu float32` for the others.
        tolerance: largest relative difference that counts as agreement.
        loss_difference: relative, None where no answer came.
        gradient_difference: the largest of all parameters, relative to the parameter's largest gradient.
        pass_ms: time of one forward and backward pass after the first, in ms.
    """

    device: str
    name: str
    memory_mib: float | None
    bfloat16: bool
    works: bool
    compared_with: str
    tolerance: float
    loss_difference: float | None = None
    gradient_difference: float | None = None
    pass_ms: float | None = None


@dataclass(frozen=True, slots=True)
class CacheResult:
    """One folder where imgcls keeps what it fetched or computed.

    Attributes:
        kind: `weights`, `datasets` or `cache`.
        path: the folder, which need not exist yet.
        exists: whether it does.
        writable: whether a file could really be written there.
        problem: why not; empty where it is writable.
        files: how many files it holds, subfolders included.
        mib: their size, in MiB.
        names: what lies in it, sorted: weights files, or data sets' folders.
        free_mib: room on its disk, in MiB; None where unknown.
    """

    kind: str
    path: str
    exists: bool
    writable: bool
    problem: str
    files: int
    mib: float
    names: tuple[str, ...]
    free_mib: float | None


@dataclass(frozen=True, slots=True)
class OfflineResult:
    """What works on this machine without a network.

    Attributes:
        bundled: models that ship with imgcls.
        alexnet: whether the default model's weights are here and whole.
        weights: other weights files that are here, by name.
        datasets: downloaded data sets that are here, by folder.
        forced: whether `IMGCLS_OFFLINE` forbids the network.
    """

    bundled: tuple[str, ...]
    alexnet: bool
    weights: tuple[str, ...]
    datasets: tuple[str, ...]
    forced: bool


@dataclass(frozen=True, slots=True)
class AutoDevice:
    """The device that `--device auto` picks, and why."""

    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class EnvironmentReport:
    """All that was tried on this machine.

    Attributes:
        checks: in the order in which they are shown.
        versions: of imgcls, Python, torch, ...; only what is installed.
        devices: those that were tried.
        caches: the folders for weights, data sets and everything else.
        auto_device: None where torch could not say, or where only the CPU was asked about.
        offline: what works without a network.
    """

    checks: tuple[Check, ...]
    versions: dict[str, str]
    devices: tuple[DeviceResult, ...]
    caches: tuple[CacheResult, ...]
    auto_device: AutoDevice | None
    offline: OfflineResult

    @property
    def ok(self) -> bool:
        """Whether no check found a fault."""
        return self.count(Status.FAULT) == 0

    def count(self, status: Status) -> int:
        """How many checks ended so."""
        return sum(check.status is status for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """The object that `env-check --format json` prints."""
        return {
            "schema": SCHEMA,
            "ok": self.ok,
            "versions": self.versions,
            "auto_device": asdict(self.auto_device) if self.auto_device else None,
            "devices": _as_dicts(self.devices),
            "caches": _as_dicts(self.caches),
            "offline": asdict(self.offline),
            "checks": [check.to_dict() for check in self.checks],
        }


def _as_dicts(results: Sequence[DeviceResult | CacheResult]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]
