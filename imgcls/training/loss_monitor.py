"""Watching the loss without asking the device for it at every step."""

import math
import time

import torch
from torch import Tensor

from imgcls.distributed.process_group import Processes
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
        total, count: sum and number of this process's images, of an epoch that was begun before.
        processes: that share the images.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        peak_lr: float,
        total: float = 0.0,
        count: int = 0,
        processes: Processes | None = None,
    ) -> None:
        self.peak_lr = peak_lr
        self.total, self.count = total, count
        self._processes = processes or Processes()
        self._all_total, self._all_count = total, count
        # Several processes agree on when to fetch them, which takes them a step more.
        self._losses = torch.zeros(BUFFERED_STEPS + 1, device=device)
        self._sizes: list[int] = []
        self._checked_at = time.perf_counter()

    def add(self, loss: Tensor, *, num_images: int) -> bool:
        """Take a step's mean loss.

        Returns:
            Whether it is time to `check`.
        """
        self._losses[len(self._sizes)] = loss
        self._sizes.append(num_images)
        return len(self._sizes) >= BUFFERED_STEPS or time.perf_counter() - self._checked_at > BUFFERED_SEC

    def check(self, *, step: int) -> None:
        """Fetch the losses that wait, and add them up; every process does so after the same step.

        Args:
            step: done so far in the run, with the ones that wait.
        Raises:
            DivergedError: one of them isn't finite, in any process; names the first such step.
        """
        bad: tuple[int, float] | None = None
        losses = self._losses[: len(self._sizes)].tolist()
        for behind, (loss, num_images) in enumerate(zip(losses, self._sizes, strict=True), start=1 - len(losses)):
            if not math.isfinite(loss):
                bad = (step + behind, loss)
                break
            self.total += loss * num_images
            self.count += num_images
        self._sizes.clear()
        self._checked_at = time.perf_counter()
        everybody = self._processes.gather((self.total, self.count, bad))
        self._all_total, self._all_count = sum(total for total, _, _ in everybody), sum(num for _, num, _ in everybody)
        if first := min((found for *_, found in everybody if found is not None), default=None):
            raise diverged(f"the loss became {first[1]} at step {first[0]}", self.peak_lr, step=first[0])

    @property
    def mean(self) -> float:
        """Mean loss over the epoch's images that were checked; 0 before the first."""
        return self._all_total / self._all_count if self._all_count else 0.0


def diverged(what: str, peak_lr: float, *, step: int) -> DivergedError:
    """The error that stops a run, with the setting to lower."""
    return DivergedError(
        what,
        hint=f"lower the learning rate optim.lr = {peak_lr:g}, for example --lr {peak_lr / 4:.1g}",
        step=step,
    )
