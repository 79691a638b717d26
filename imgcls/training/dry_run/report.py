"""What a dry run found out about a run."""

from dataclasses import asdict, dataclass
from typing import Any

from imgcls.datasets.labelled_images import SkippedImage
from imgcls.runs.events import Started

# Saving is put off where it would take longer than this share of an epoch; see checkpointing/schedule.py.
SAVING_SHARE = 1 / 4


@dataclass(frozen=True, slots=True)
class StepKind:
    """Steps of a run that cost the same.

    Attributes:
        image_px: side of the images.
        frozen: whether the head alone is trained.
        num_steps: of the whole run.
        step_sec: of one step, with its share of loading images: the median of a few, or their mean where workers
            decode ahead; None where the head's steps weren't reached, which take next to no time.
        first_sec: of the first step.
        feature_sec: to run a frozen backbone once on all training images; None where it isn't kept.
    """

    image_px: int
    frozen: bool
    num_steps: int
    step_sec: float | None
    first_sec: float | None
    feature_sec: float | None

    @property
    def total_sec(self) -> float:
        """All of these steps together."""
        beginning = max((self.first_sec or 0.0) - (self.step_sec or 0.0), 0.0)
        return self.num_steps * (self.step_sec or 0.0) + beginning + (self.feature_sec or 0.0)


@dataclass(frozen=True)
class DryRun:
    """What a run will take.

    Attributes:
        started: what the run would say at its start; its folder is gone.
        batch_size: images in a step.
        kinds: of steps, in the order of the run.
        validation_sec: after every epoch; None without validation images.
        test_sec: at the end; None without test images.
        saving_sec: of last.pt and best.pt.
        last_bytes, best_bytes: of the checkpoints.
        free_bytes: where the run's folder would be.
        host_peak_bytes: of this process, with the images that it holds; None where it isn't known.
        host_total_bytes: what this process may use: the machine's memory, or its container's; None where unknown.
        device_peak_bytes, device_total_bytes: of an accelerator.
    """

    started: Started
    batch_size: int
    kinds: tuple[StepKind, ...]
    validation_sec: float | None
    test_sec: float | None
    saving_sec: float
    last_bytes: int
    best_bytes: int
    free_bytes: int
    host_peak_bytes: int | None
    host_total_bytes: int | None
    device_peak_bytes: int | None
    device_total_bytes: int | None

    @property
    def epoch_sec(self) -> float:
        """An epoch of the run's last kind of steps, with validation and saving."""
        steps = self.started.steps_per_epoch * (self.kinds[-1].step_sec or 0.0)
        return steps + self._overhead_sec(self.kinds[-1], steps)

    @property
    def total_sec(self) -> float:
        """The whole run."""
        total = self.test_sec or 0.0
        for kind in self.kinds:
            steps = self.started.steps_per_epoch * (kind.step_sec or 0.0)
            epochs = kind.num_steps / self.started.steps_per_epoch
            total += kind.total_sec + epochs * self._overhead_sec(kind, steps)
            if kind.feature_sec is not None:
                # The backbone runs once on the validation images too.
                total += self.validation_sec or 0.0
        return total

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the run would warn of, and what would end it."""
        found = list(self.started.warnings)
        # A checkpoint is written beside the old one.
        needed = 2 * self.last_bytes + self.best_bytes
        if self.free_bytes < needed:
            found.append(
                f"the checkpoints need {needed / 2**20:,.0f} MiB, and {self.free_bytes / 2**20:,.0f} MiB are free"
            )
        return tuple(found)

    @property
    def skipped(self) -> tuple[SkippedImage, ...]:
        """Damaged files found so far."""
        return self.started.skipped

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer of `imgcls train --dry-run`."""
        started = self.started
        return {
            "schema": 1,
            "dry_run": True,
            "model": started.model,
            "num_parameters": started.num_parameters,
            "num_classes": started.num_classes,
            "num_train": started.num_train,
            "num_val": started.num_val,
            "num_test": started.num_test,
            "validates_on": started.validates_on,
            "device": started.device,
            "precision": started.precision,
            "batch_size": self.batch_size,
            "epochs": started.epochs,
            "steps_per_epoch": started.steps_per_epoch,
            "steps": [asdict(kind) for kind in self.kinds],
            "validation_sec": self.validation_sec,
            "test_sec": self.test_sec,
            "saving_sec": self.saving_sec,
            "epoch_sec": self.epoch_sec,
            "total_sec": self.total_sec,
            "last_bytes": self.last_bytes,
            "best_bytes": self.best_bytes,
            "free_bytes": self.free_bytes,
            "host_peak_bytes": self.host_peak_bytes,
            "host_total_bytes": self.host_total_bytes,
            "device_peak_bytes": self.device_peak_bytes,
            "device_total_bytes": self.device_total_bytes,
            "skipped_images": len(self.skipped),
            "warnings": list(self.warnings),
        }

    def _overhead_sec(self, kind: StepKind, steps_sec: float) -> float:
        validation = 0.0 if kind.feature_sec is not None else self.validation_sec or 0.0
        return validation + min(self.saving_sec, SAVING_SHARE * (steps_sec + validation))
