"""When a run's checkpoints are written: at the end of every epoch, unless that would take longer than the epochs do.

A run that is killed does again what was not saved, to the same weights, so that saving less often costs it seconds and
loses nothing. Of a large network whose head alone is trained, an epoch takes milliseconds and a checkpoint a second.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from imgcls.models.checkpoint import Checkpoint, save_checkpoint
from imgcls.runs.folder import RunFolder

# Between two savings there is so many times their duration: they take a fifth of the time at most.
PAUSE_FACTOR = 4


class Checkpointing:
    """Writes best.pt and last.pt.

    Args:
        folder: of the run; where another process writes it, nothing here does.

    Attributes:
        position: whole epochs, and batches of the next, behind what last.pt holds; None before there is one.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.position: tuple[int, int] | None = None
        self._best: Checkpoint | None = None
        self._due_at = 0.0

    def end_epoch(self, last: Callable[[], Checkpoint], *, best: Checkpoint | None, must: bool) -> None:
        """Save, or put it off.

        Args:
            last: makes what last.pt is to hold.
            best: what best.pt is to hold from now on; None where it stays.
            must: whether saving can't be put off.
        Raises:
            OutputError: it can't be written.
        """
        if not self._folder.writes:
            return
        if not must and time.monotonic() < self._due_at:
            if best is not None:
                # The network goes on from here, so that its weights have to be copied.
                weights = {name: tensor.detach().cpu().clone() for name, tensor in best.weights.items()}
                self._best = replace(best, weights=weights)
            return
        self._best = best or self._best
        self.save(last())

    def save(self, last: Checkpoint) -> None:
        """Write what was put off, then last.pt: so what it knows of is there, if the process is killed in between."""
        if not self._folder.writes:
            return
        started = time.monotonic()
        self.save_best()
        save_checkpoint(last, self._folder.last_path)
        position = last.resume["loop"]["position"]
        self.position = position["epoch"], position["batch"]
        ended = time.monotonic()
        self._due_at = ended + PAUSE_FACTOR * (ended - started)

    def save_best(self) -> None:
        """Write best.pt, if that was put off."""
        if self._best is not None:
            save_checkpoint(self._best, self._folder.best_path)
            self._best = None
