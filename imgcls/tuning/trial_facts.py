"""What a study keeps with a trial beyond what Optuna has a place for."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from imgcls.tuning.results import TrialState

# The attribute of Optuna's trial that holds it.
KEY = "imgcls"


class TrialFacts(BaseModel):
    """Plain values, checked when they are read: a study's file may come from anywhere.

    Attributes:
        attempts: how many processes in turn took the trial on and made no progress with it.
        saved: what the trial had saved when it was last taken on; see `StudyFolder.saved`.
        seconds: that it took so far.
        outcome: what it came to.
        loss, epoch, reason: see `TrialRecord`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    attempts: int = Field(default=0, ge=0)
    saved: str = ""
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    outcome: TrialState | None = None
    loss: float | None = None
    epoch: int | None = None
    reason: str | None = None

    @classmethod
    def read(cls, attributes: dict[str, Any]) -> Self:
        """From Optuna's attributes of a trial.

        Raises:
            ValueError: they hold what imgcls didn't write.
        """
        return cls.model_validate(attributes.get(KEY, {}))

    def changed(self, **values: Any) -> Self:
        """The same with other values."""
        return self.model_copy(update=values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as Optuna stores them."""
        return self.model_dump(exclude_none=True)
