"""A trial that this process works on, and what it tells the study meanwhile."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgcls.tuning.results import TrialRecord
from imgcls.tuning.storage_errors import typed_errors
from imgcls.tuning.trial_facts import TrialFacts

if TYPE_CHECKING:
    import optuna


@dataclass
class RunningTrial:
    """A trial that this process has taken on.

    Attributes:
        number: counted from 0.
        values: by dotted key.
        reported: top-1 by epoch, so far.
        seconds: that it took before it was cut.
        same_as: an earlier trial with the same values that is over, so that there is nothing to train.
        facts: what is stored with it, for the storage alone.
        handle: Optuna's own, likewise.
    """

    number: int
    values: dict[str, Any]
    reported: dict[int, float]
    seconds: float
    same_as: TrialRecord | None
    facts: TrialFacts
    handle: "optuna.Trial"

    def report(self, epoch: int, top1: float) -> None:
        """Tell the study how far the trial is; what is known already is left alone.

        Raises:
            OutputError: it can't be written.
        """
        if epoch not in self.reported:
            with typed_errors():
                self.handle.report(top1, epoch)
            self.reported[epoch] = top1

    def should_be_pruned(self) -> bool:
        """Whether others did so much better that it isn't worth going on.

        Raises:
            OutputError: the study can't be read.
        """
        with typed_errors():
            return bool(self.reported) and self.handle.should_prune()
