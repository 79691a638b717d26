"""Watching the loss without asking the device for it at every step."""

import math
import time

import torch
from torch import Tensor

from imgcls.errors import DataError

# Losses wait on the device until there are this many of them, or this long: asking for each would stop a GPU each time.
BUFFERED_STEPS = 64
BUFFERED_SEC = 0.5


class DivergedError(DataError):
    """The loss is no longer a number, so that going on would only destroy the weights.

    Args:
        message, hint: as in every error.
        step: counted from 1 over the whole run.
    """

    def __init__(self, message: str, *, hint: str, step: int) -> None:
        super().__init__(message, hint=hint)
        self.step = step


class LossMonitor:
    """Collects an epoch's losses and notices when one is NaN or infinite.

    Args:
        device: where the losses are.
        peak_lr: of the recipe, for the advice.
        total, count: sum and number of pictures of an epoch that was begun before.
    """

    def __init__(self, device: torch.device, *, peak_lr: float, total: float = 0.0, count: int = 0) -> None:
        self.peak_lr = peak_lr
        self.total, self.count = total, count
        self._losses = torch.zeros(BUFFERED_STEPS, device=device)
        self._sizes: list[int] = []
        self._checked_at = time.perf_counter()

    def add(self, loss: Tensor, *, num_images: int) -> bool:
        """Take a step's mean loss.

        Returns:
            Whether it is time to `check`.
        """
        self._losses[len(self._sizes)] = loss
        self._sizes.append(num_images)
        return len(self._sizes) == BUFFERED_STEPS or time.perf_counter() - self._checked_at > BUFFERED_SEC

    def check(self, *, step: int) -> None:
        """Fetch the losses that wait, and add them up.

        Args:
            step: done so far in the run, with the ones that wait.
        Raises:
            DivergedError: one of them isn't finite; names its step.
        """
        losses = self._losses[: len(self._sizes)].tolist()
        for behind, (loss, num_images) in enumerate(zip(losses, self._sizes, strict=True), start=1 - len(losses)):
            if not math.isfinite(loss):
                raise diverged(f"the loss became {loss} at step {step + behind}", self.peak_lr, step=step + behind)
            self.total += loss * num_images
            self.count += num_images
        self._sizes.clear()
        self._checked_at = time.perf_counter()

    @property
    def mean(self) -> float:
        """Mean loss over the epoch's pictures that were checked; 0 before the first."""
        return self.total / self.count if self.count else 0.0


def diverged(what: str, peak_lr: float, *, step: int) -> DivergedError:
    """The error that stops a run, with the setting to lower."""
    return DivergedError(
        what,
        hint=f"lower the learning rate optim.lr = {peak_lr:g}, for example --lr {peak_lr / 4:.1g}",
        step=step,
    )
