"""What a study tells of itself while it runs, and what it comes to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from imgcls.host.versions import PACKAGES, versions
from imgcls.runs.events import Event
from imgcls.runs.result import Score

# complete: trained to its end, and what the others are measured by. pruned: given up early, as others did better.
# diverged, out_of_memory, refused: these values can't be trained with. failed: the process died in it again and again.
# running: in some process. waiting: begun and cut, or still to begin.
TrialState = Literal[
    "complete", "pruned", "diverged", "out_of_memory", "refused", "failed", "running", "waiting"
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial, as far as it has come.

    Attributes:
        number: counted from 0, as Optuna does.
        state: see `TrialState`.
        values: by the recipe's dotted key.
        top1: fraction of the validation images; after the best epoch of a complete trial, else after the last one.
        loss: mean cross-entropy after the same epoch, of a complete trial.
        epoch: the epoch behind `top1`, counted from 1.
        seconds: from start to end, with validation, without time in which nothing ran.
        reason: why it isn't complete, or that it repeats another trial.
        run: its folder; None where it never had one.
    """

    number: int
    state: TrialState
    values: dict[str, Any]
    top1: float | None = None
    loss: float | None = None
    epoch: int | None = None
    seconds: float = 0.0
    reason: str = ""
    run: Path | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing will be added to it."""
        return self.state not in ("running", "waiting")

    def beats(self, other: "TrialRecord | None") -> bool:
        """Whether this complete trial is the better one, as `Score.beats` has it; of equals, the earlier one."""
        return other is None or Score(0, self.top1, self.loss).beats(Score(0, other.top1, other.loss))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "trial": self.number,
            "state": self.state,
            "values": self.values,
            "top1": self.top1,
            "loss": self.loss,
            "epoch": self.epoch,
            "seconds": round(self.seconds, 3),
            "reason": self.reason or None,
            "run": str(self.run) if self.run else None,
        }


def best_of(trials: tuple[TrialRecord, ...]) -> TrialRecord | None:
    """The best complete trial, if there is one."""
    best: TrialRecord | None = None
    for trial in trials:
        if trial.state == "complete" and trial.beats(best):
            best = trial
    return best


@dataclass(frozen=True, slots=True)
class StudyStarted:
    """The study is open, and its images are.

    Attributes:
        study: its folder.
        num_settings: that are searched.
        num_trials: wanted in all.
        num_over: trials that were over before.
        best: of those.
        pruner: by name.
        begins_with_recipe: whether the first trial is the recipe as it stands.
        num_train, num_val: images.
        val_fraction: what the search keeps back for validation where the recipe would measure on the test images;
            None where the recipe's own rule holds.
        device, reason: where it runs, and why there.
        warnings: about the data.
    """

    study: Path
    num_settings: int
    num_trials: int
    num_over: int
    best: TrialRecord | None
    pruner: str
    begins_with_recipe: bool
    num_train: int
    num_val: int
    val_fraction: float | None
    device: str
    reason: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """A trial begins, or goes on after it was cut.

    Attributes:
        number: counted from 0.
        values: by dotted key.
        epochs: that it is to have.
        done_epochs: from before it was cut.
    """

    number: int
    values: dict[str, Any]
    epochs: int
    done_epochs: int = 0


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial is over and stored.

    Attributes:
        trial: what it came to.
        best: of all so far.
        num_over: how many trials are over, of all processes.
    """

    trial: TrialRecord
    best: TrialRecord | None
    num_over: int


StudyEvent = StudyStarted | TrialStarted | TrialEnded | Event
OnStudyEvent = Callable[[StudyEvent], None]


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a study came to.

    Attributes:
        study: its folder.
        trials: in order, with those that other processes run.
        num_trials: wanted in all.
        best: None before the first trial is complete.
        best_recipe: the file to train with; None likewise.
        importance: by dotted key, adding up to 1: how much of the good results' difference a setting explains; None
            where there are too few complete trials to tell.
        val_fraction: see `StudyStarted`.
        pruner: by name.
        seed: of the search, and of every trial.
        device: where it ran.
        data: where the validation images came from, as `DataDescription.to_dict` has it.
        stopped: why this process ended before the last trial, such as `SIGINT` or `max-time`; None if it didn't.
    """

    study: Path
    trials: tuple[TrialRecord, ...]
    num_trials: int
    best: TrialRecord | None
    best_recipe: Path | None
    importance: dict[str, float] | None
    val_fraction: float | None
    pruner: str
    seed: int
    device: str
    data: dict[str, Any]
    stopped: str | None = None

    @property
    def num_over(self) -> int:
        """How many trials nothing will be added to."""
        return sum(trial.is_over for trial in self.trials)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials are in each state, of those that occur."""
        states = [trial.state for trial in self.trials]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer of `imgcls tune`."""
        return {
            "schema": 1,
            "study": str(self.study),
            "best": self.best.to_dict() if self.best else None,
            "best_recipe": str(self.best_recipe) if self.best_recipe else None,
            "num_trials": self.num_trials,
            "counts": self.counts,
            "importance": self.importance,
            "trials": [trial.to_dict() for trial in self.trials],
            "val_fraction": self.val_fraction,
            "pruner": self.pruner,
            "seed": self.seed,
            "device": self.device,
            "data": self.data,
            "versions": versions((*PACKAGES, "optuna")),
            "stopped": self.stopped,
        }
