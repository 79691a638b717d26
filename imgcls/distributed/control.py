"""What all processes of a run do after a step: go on, report, save or stop, and all of them the same."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist

from imgcls.distributed.process_group import Processes

# Asked after every step: None to go on, else the reason to stop.
ShouldStop = Callable[[], str | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """What comes after a step.

    Attributes:
        report: fetch the losses, and tell how far the epoch is.
        save: the state, and go on.
        stop: for a reason that `Control.reason` gives.
    """

    report: bool
    save: bool
    stop: bool


class Control:
    """Asks after every step whether to stop, and makes one answer of everybody's.

    Several processes exchange their answers while the next step runs and act on them after it, so that nobody waits.

    Args:
        processes: that have to agree.
        save_sec: between two times that the state is saved; 0 for never.
    """

    def __init__(self, processes: Processes, *, save_sec: float) -> None:
        self.processes = processes
        self._save_sec = save_sec
        self._saved_at = time.monotonic()
        self._flags = torch.zeros(3, dtype=torch.int32)
        self._exchange: dist.Work | None = None
        self._reason: str | None = None

    def after_step(self, should_stop: ShouldStop, *, report: bool) -> Decision:
        """Decide; every process calls this after the same steps."""
        # One clock counts, or processes would save by turns.
        due = self.processes.is_first and 0 < self._save_sec <= time.monotonic() - self._saved_at
        self._reason = self._reason or should_stop()
        stop = self._reason is not None
        if self.processes.count == 1:
            return Decision(report, due, stop)
        decided = [False] * 3
        if self._exchange is not None:
            self._exchange.wait()
            decided = [bool(flag) for flag in self._flags.tolist()]
        self._flags = torch.tensor([report, due, stop], dtype=torch.int32)
        self._exchange = self.processes.begin_maximum(self._flags)
        return Decision(*decided)

    def reason(self, should_stop: ShouldStop) -> str | None:
        """Why anybody wants to stop now; the first process's reason goes before the others'."""
        own, self._reason = self._reason or should_stop(), None
        return next((reason for reason in self.processes.gather(own) if reason is not None), None)

    def saved(self) -> None:
        """The state was saved: forget what was asked for before."""
        if self._exchange is not None:
            self._exchange.wait()
            self._exchange = None
        self._saved_at = time.monotonic()
