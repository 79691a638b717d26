"""A run in its folder: epochs with validation, checkpoints, result."""

import math
import time
from dataclasses import dataclass
from typing import Any

import torch

from imgcls.datasets.labelled_images import LabelledImages, SkippedImage
from imgcls.datasets.opening import Dataset
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError, ProcessLostError
from imgcls.host.devices import DeviceChoice
from imgcls.models.building import OWN
from imgcls.models.checkpoint import Checkpoint
from imgcls.models.initial_weights import Start
from imgcls.recipes.schema import Recipe, transform_of
from imgcls.runs.events import EpochEnd, OnEvent, Score, ShouldStop, Started, TrainResult
from imgcls.runs.folder import RunFolder
from imgcls.runs.pace import stages_of
from imgcls.training.building import build_for_training
from imgcls.training.checkpointing.resume import Saved, check_same_data, moved_warning, resume_state
from imgcls.training.checkpointing.schedule import Saving
from imgcls.training.class_weights import uneven_warning
from imgcls.training.early_stopping import EARLY, is_out_of_patience
from imgcls.training.fine_tuning.phases import changing_settings
from imgcls.training.loop import EpochSummary, Loop
from imgcls.training.loss_monitor import DivergedError, diverged
from imgcls.training.precision import choose_precision
from imgcls.training.rng import own_global_stream
from imgcls.training.validation import Scoring, figures

# Networks of torchvision's, trained from nothing on fewer images, stay behind the same ones pretrained.
FEW_IMAGES = 10_000


@dataclass(frozen=True, slots=True)
class _Measured:
    """Figures after an epoch, and the epoch they belong to."""

    epoch: EpochEnd
    metrics: dict[str, Any]

    @property
    def score(self) -> Score:
        return Score(self.epoch.epoch, self.epoch.top1, self.epoch.loss)


class Session:
    """A run from its first step, or from where it was cut, to its end.

    Args:
        recipe: resolved.
        dataset: with a train split.
        folder: locked, for the run's files.
        choice: the device.
        start: trained weights to begin with; None for random ones, and for a run that is taken up.
        processes: that train together; each has a session, and calls the same methods at the same time.
    """

    def __init__(
        self,
        recipe: Recipe,
        dataset: Dataset,
        folder: RunFolder,
        choice: DeviceChoice,
        *,
        start: Start | None = None,
        processes: Processes | None = None,
    ) -> None:
        if dataset.train is None:
            raise DataError(f"{recipe.data.source} has no training images", hint="check --data")
        self.recipe, self.dataset, self.folder, self.choice = recipe, dataset, folder, choice
        self.processes = processes or Processes()
        self.device = choice.device
        self.images: LabelledImages = dataset.train
        self.transform = transform_of(recipe)
        self.precision = choose_precision(recipe.train.precision, self.device)
        self.scoring = Scoring(recipe, dataset, transform=self.transform, device=self.device, processes=self.processes)
        self.saving = Saving(folder)
        self.best: Score | None = None
        self.last: Score | None = None
        network, self.origin = build_for_training(
            recipe, self.images, transform=self.transform, device=self.device, start=start
        )
        self._moved: str | None = None
        # When the run would have begun, had it never been cut.
        self._began = 0.0
        self.loop = Loop(
            network,
            self.images,
            recipe,
            transform=self.transform,
            device=self.device,
            precision=self.precision,
            processes=self.processes,
        )

    def take_up(self, saved: Saved) -> None:
        """Go on from where a run was cut.

        Raises:
            DataError: the images are others.
        """
        if self.processes.is_first:
            # Another machine's copy of the images has other times; that it is one, they have compared.
            check_same_data(saved, self.images, self.folder.path)
        self.loop.load_state_dict(saved.loop)
        if self.folder.writes:
            self.saving.position = self.loop.position.epoch, self.loop.position.batch
        self.best, self.last, self.origin = saved.best, saved.last, saved.origin
        self._moved = moved_warning(saved, self.device)

    def run(self, on_event: OnEvent, should_stop: ShouldStop) -> TrainResult:
        """Train until the last epoch, or until `should_stop` gives a reason; see `train`."""
        on_event(self.started())
        self._began = time.perf_counter() - self.loop.position.elapsed_sec
        reason: str | None = None
        try:
            with self.processes.noticing_losses(), own_global_stream(self.device):
                while reason is None and not self._is_finished():
                    summary = self.loop.run_epoch(on_event, should_stop)
                    if not isinstance(summary, EpochSummary):
                        reason = summary
                        self._check_weights()
                        self.loop.position.elapsed_sec = time.perf_counter() - self._began
                        self.saving.save(self.checkpoint({}, resume=True))
                        self.loop.agreement.saved()
                        continue
                    reason = self._finish_epoch(summary, on_event, should_stop)
        except ProcessLostError as exc:
            raise self._lost(exc) from exc
        except DivergedError as exc:
            self.saving.save_best()
            self.folder.write_result(self._result("diverged", None).to_dict())
            good = self.folder.best_path if self.best else None
            kept = f"; the last good weights are in {good}" if good else ""
            raise DivergedError(exc.message + kept, hint=exc.hint, step=exc.step) from exc
        test = self.scoring.test(self.folder.best_path, on_event) if reason is None else None
        if reason is None and self.loop.position.epoch < self.recipe.train.epochs:
            reason = EARLY
        result = self._result(reason, test)
        self.folder.write_result(result.to_dict())
        # torchrun ends all as soon as one leaves with a code, so that nobody may leave before all is written.
        self.processes.gather(None)
        return result

    def _is_finished(self) -> bool:
        train = self.recipe.train
        return self.loop.position.epoch >= train.epochs or is_out_of_patience(
            self.best, self.last, patience=train.patience, since=self.loop.staging.phases[-1].first_epoch
        )

    def _finish_epoch(self, summary: EpochSummary, on_event: OnEvent, should_stop: ShouldStop) -> str | None:
        """Measure, tell and save; the reason to stop after it, if there is one."""
        measured = self._measure(summary, on_event)
        self._check_weights()
        if not math.isfinite(measured.epoch.loss or 0.0):
            step = self.loop.position.step
            raise diverged(
                f"the validation loss became {measured.epoch.loss} after step {step}", self._peak(), step=step
            )
        self.folder.append_metrics(measured.epoch.to_dict())
        self.last = measured.score
        # Nothing is chosen by the test images: where they stand in for validation, the latest epoch is the one kept.
        best = None
        if self.dataset.val is None or self.last.beats(self.best):
            self.best = self.last
            best = self.checkpoint(measured.metrics, resume=False)
        # Told first: whoever listens may want the run to stop for what it hears.
        on_event(measured.epoch)
        finished = self._is_finished()
        reason = None if finished else self.loop.agreement.reason(should_stop)
        self.saving.end_epoch(
            lambda: self.checkpoint(measured.metrics, resume=True),
            best=best,
            must=finished or reason is not None,
        )
        self.loop.agreement.saved()
        return reason

    def _measure(self, summary: EpochSummary, on_event: OnEvent) -> _Measured:
        # As long as training keeps what a frozen body makes of its images, so does validation.
        keep = self.loop.staging.kept is not None
        images, position = self.dataset.validation, self.loop.position
        begun = time.perf_counter()
        result = self.scoring.validate(self.loop.evaluated_network, on_event, keep=keep)
        ended = time.perf_counter()
        position.elapsed_sec = ended - self._began
        epoch = EpochEnd(
            epoch=position.epoch,
            step=position.step,
            lr=summary.lr,
            train_loss=summary.train_loss,
            split=images.description.split if images is not None else None,
            loss=result.loss if result else None,
            top1=result.top1 if result else None,
            top5=result.top5 if result else None,
            seconds=summary.seconds,
            images_per_sec=summary.images_per_sec,
            images=position.images,
            validation_sec=ended - begun if result else None,
            elapsed_sec=position.elapsed_sec,
        )
        metrics: dict[str, Any] = {"epoch": position.epoch, "train_loss": summary.train_loss}
        if result is not None and images is not None:
            metrics |= figures(result) | {"data": images.description.to_dict()}
        return _Measured(epoch, metrics)

    def _check_weights(self) -> None:
        # One number for all weights, so that the device is asked once.
        with torch.no_grad():
            values = [v for v in self.loop.network.state_dict().values() if v.is_floating_point()]
            finite = bool(torch.stack([value.isfinite().all() for value in values]).all())
        if not finite:
            step = self.loop.position.step
            raise diverged(f"a weight became NaN or infinite by step {step}", self._peak(), step=step)

    def _peak(self) -> float:
        return self.recipe.optim.lr

    def checkpoint(self, metrics: dict[str, Any], *, resume: bool) -> Checkpoint:
        return Checkpoint(
            model_name=self.recipe.model.name,
            model_arguments=self.recipe.to_dict()["model"]["arguments"],
            classes=self.dataset.classes,
            transform=self.transform,
            weights=self.loop.evaluated_network.state_dict(),
            metrics=metrics,
            recipe=self.recipe.to_dict(),
            start=self.origin.to_dict() if self.origin else {},
            resume=resume_state(self.loop, self.images, best=self.best, last=self.last) if resume else {},
        )

    def _lost(self, exc: ProcessLostError) -> ProcessLostError:
        kept = f"what was saved is in {self.folder.path}"
        if self.saving.position is not None:
            epoch, batch = self.saving.position
            within = f", step {batch} of the next" if batch else ""
            kept = f"{self.folder.last_path} holds it up to epoch {epoch}{within}"
        elif self.folder.writes:
            kept = "nothing was saved yet"
        launch = self.processes.launch
        if launch is not None and launch.restarts < launch.max_restarts:
            hint = "torchrun starts them again, and the run goes on"
        else:
            hint = (
                f"torchrun ... -m imgcls train --resume {self.folder.path} goes on; "
                "with --max-restarts 3 torchrun does so by itself"
            )
        return ProcessLostError(f"{exc.message}; {kept}", hint=hint)

    def _skipped(self) -> tuple[SkippedImage, ...]:
        found = list(self.images.skipped)
        if self.dataset.val is not None:
            found += self.dataset.val.skipped
        # Each process has met its own, or all of them have met all.
        return tuple({bad.path: bad for part in self.processes.gather(found) for bad in part}.values())

    def started(self) -> Started:
        position, validation, test = self.loop.position, self.dataset.validation, self.dataset.test
        return Started(
            run=self.folder.path,
            model=self.recipe.model.name,
            origin=self.origin,
            num_parameters=self.loop.staging.num_parameters,
            frozen_epochs=sum(phase.epochs for phase in self.loop.staging.phases if phase.frozen),
            changing=tuple(changing_settings(self.recipe)),
            num_classes=len(self.dataset.classes),
            num_train=len(self.images),
            num_val=len(validation) if validation is not None else 0,
            num_test=len(test) if test is not None else 0,
            validates_on=validation.description.split if validation is not None else None,
            epochs=self.recipe.train.epochs,
            steps_per_epoch=self.loop.steps_per_epoch,
            stages=stages_of(self.recipe, total_steps=self.loop.total_steps),
            done_epochs=position.epoch,
            done_steps=position.batch,
            device=str(self.device),
            reason=self.choice.reason,
            num_processes=self.processes.count,
            precision=self.precision.name,
            skipped=self._skipped(),
            warnings=self._warnings(),
        )

    def _warnings(self) -> tuple[str, ...]:
        uneven = uneven_warning(self.images.labels_N, self.images.classes)
        weighted = self.recipe.optim.class_weights != "off"
        said = (None if weighted else uneven, self._too_few(), self._moved)
        return (*self.dataset.warnings, *(text for text in said if text is not None))

    def _too_few(self) -> str | None:
        name, count = self.recipe.model.name, len(self.images)
        if self.origin is not None or name in OWN or count >= FEW_IMAGES:
            return None
        few = f"{name} begins with random weights, for which {count:,} images are few"
        return f"{few}: --pretrained begins with those of ImageNet"

    def _result(self, stopped: str | None, test: dict[str, Any] | None) -> TrainResult:
        position = self.loop.position
        return TrainResult(
            run=self.folder.path,
            best=self.best,
            last=self.last,
            epochs=position.epoch,
            train_sec=position.train_sec,
            images_per_sec=position.images / position.train_sec if position.train_sec else 0.0,
            skipped=self._skipped(),
            device=str(self.device),
            num_processes=self.processes.count,
            seed=self.recipe.train.seed,
            precision=self.precision.name,
            data=self.images.description.to_dict(),
            start=self.origin.to_dict() if self.origin else None,
            stopped=stopped,
            test=test,
        )
