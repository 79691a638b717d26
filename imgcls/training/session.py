"""A run in its folder: epochs with validation, checkpoints, result."""

import functools
import math
import time
from dataclasses import replace
from typing import Any

import torch

from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.labelled_images import LabelledImages
from imgcls.datasets.opening import Dataset
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError, ProcessLostError
from imgcls.host.devices import DeviceChoice
from imgcls.models.checkpoint import Checkpoint
from imgcls.models.initial_weights import Start
from imgcls.recipes.schema import Recipe, transform_of
from imgcls.runs.events import EpochEnd, OnEvent, Score, ShouldStop, TrainResult
from imgcls.runs.folder import RunFolder
from imgcls.training.checkpointing.resume import Saved, check_same_data, moved_warning, restore, resume_state
from imgcls.training.checkpointing.schedule import Checkpointing
from imgcls.training.early_stopping import EARLY, is_out_of_patience
from imgcls.training.fine_tuning.phase_setup import PhaseSetup
from imgcls.training.loop import Loop
from imgcls.training.loss import DivergedError, diverged
from imgcls.training.position import EpochSummary, Measured
from imgcls.training.precision import choose_precision
from imgcls.training.reporting import describe_result, describe_start, lost_process
from imgcls.training.rng import forked_rng
from imgcls.training.setup.building import build_for_training
from imgcls.training.validation import Validation, figures


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
        self.validation = Validation(
            recipe, dataset, transform=self.transform, device=self.device, processes=self.processes
        )
        self.checkpointing = Checkpointing(folder)
        self.best: Score | None = None
        self.last: Score | None = None
        network, self.origin = build_for_training(
            recipe, self.images, transform=self.transform, device=self.device, start=start
        )
        self.moved: str | None = None
        self.start = start
        # What the weights that the run begins with were trained on.
        self._earlier = SeenImages.from_dict(start.images) if start is not None else None
        # When the run would have begun, had it never been cut.
        self._began = 0.0
        self.loop = Loop(
            PhaseSetup(
                network,
                self.images,
                recipe,
                transform=self.transform,
                device=self.device,
                precision=self.precision,
                processes=self.processes,
            )
        )

    def take_up(self, saved: Saved) -> None:
        """Go on from where a run was cut.

        Raises:
            DataError: the images are others.
            ModelError: what was saved is another run's.
        """
        if self.processes.is_first:
            # Another machine's copy of the images has other times; that it is one, they have compared.
            check_same_data(saved, self.images, self.folder.path)
        restore(self.loop, saved, self.folder.last_path)
        if self.folder.writes:
            self.checkpointing.position = self.loop.position.epoch, self.loop.position.batch
        self.best, self.last, self.origin = saved.best, saved.last, saved.origin
        self.moved = moved_warning(saved, self.device)
        self._earlier = SeenImages.from_dict(saved.images)
        if self._earlier is not None:
            self._earlier = replace(self._earlier, train=self._earlier.train[:0])

    def run(self, on_event: OnEvent, should_stop: ShouldStop) -> TrainResult:
        """Train until the last epoch, or until `should_stop` gives a reason; see `train`."""
        on_event(describe_start(self))
        self._began = time.perf_counter() - self.loop.position.elapsed_sec
        reason: str | None = None
        try:
            with self.processes.noticing_losses(), forked_rng(self.device):
                while reason is None and not self._is_finished():
                    summary = self.loop.run_epoch(on_event, should_stop)
                    if not isinstance(summary, EpochSummary):
                        reason = summary
                        self.check_weights()
                        self.loop.position.elapsed_sec = time.perf_counter() - self._began
                        self.checkpointing.save(self.checkpoint({}, resume=True))
                        self.loop.control.saved()
                        continue
                    reason = self._finish_epoch(summary, on_event, should_stop)
        except ProcessLostError as exc:
            raise lost_process(self, exc) from exc
        except DivergedError as exc:
            self.checkpointing.save_best()
            self.folder.write_result(describe_result(self, "diverged", None).to_dict())
            good = self.folder.best_path if self.best else None
            kept = f"; the last good weights are in {good}" if good else ""
            raise DivergedError(exc.message + kept, hint=exc.hint, step=exc.step) from exc
        test = self.validation.test(self.folder.best_path, on_event) if reason is None else None
        if reason is None and self.loop.position.epoch < self.recipe.train.epochs:
            reason = EARLY
        result = describe_result(self, reason, test)
        self.folder.write_result(result.to_dict())
        # torchrun ends all as soon as one leaves with a code, so that nobody may leave before all is written.
        self.processes.gather(None)
        return result

    def _is_finished(self) -> bool:
        train = self.recipe.train
        return self.loop.position.epoch >= train.epochs or is_out_of_patience(
            self.best, self.last, patience=train.patience, since=self.loop.phase_setup.phases[-1].first_epoch
        )

    def _finish_epoch(self, summary: EpochSummary, on_event: OnEvent, should_stop: ShouldStop) -> str | None:
        """Measure, tell and save; the reason to stop after it, if there is one."""
        self.loop.settle_batch_norms()
        measured = self._measure(summary, on_event)
        self.check_weights()
        if not math.isfinite(measured.epoch.loss or 0.0):
            step = self.loop.position.step
            raise diverged(
                f"the validation loss became {measured.epoch.loss} after step {step}", self.recipe.optim.lr, step=step
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
        reason = None if finished else self.loop.control.reason(should_stop)
        self.checkpointing.end_epoch(
            lambda: self.checkpoint(measured.metrics, resume=True),
            best=best,
            must=finished or reason is not None,
        )
        self.loop.control.saved()
        return reason

    def _measure(self, summary: EpochSummary, on_event: OnEvent) -> Measured:
        # As long as training keeps what a frozen backbone makes of its images, so does validation.
        keep = self.loop.phase_setup.kept is not None
        images, position = self.dataset.validation, self.loop.position
        begun = time.perf_counter()
        result = self.validation.validate(self.loop.evaluated_network, on_event, keep=keep)
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
            train_top1=summary.train_top1,
        )
        metrics: dict[str, Any] = {"epoch": position.epoch, "train_loss": summary.train_loss}
        if result is not None and images is not None:
            metrics |= figures(result) | {"data": images.description.to_dict()}
        return Measured(epoch, metrics)

    def check_weights(self) -> None:
        """See that every weight is a finite number, before it is measured or saved.

        Raises:
            DivergedError: one isn't.
        """
        # One number for all weights, so that the device is asked once.
        with torch.no_grad():
            values = [v for v in self.loop.network.state_dict().values() if v.is_floating_point()]
            finite = bool(torch.stack([value.isfinite().all() for value in values]).all())
        if not finite:
            step = self.loop.position.step
            raise diverged(f"a weight became NaN or infinite by step {step}", self.recipe.optim.lr, step=step)

    @functools.cached_property
    def seen(self) -> SeenImages:
        """The images behind the weights."""
        none = torch.zeros(0, dtype=torch.int64)
        val = self.dataset.val.fingerprints() if self.dataset.val is not None else none
        earlier = torch.unique(self._earlier.trained) if self._earlier is not None else none
        return SeenImages(self.images.fingerprints(), val, earlier)

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
            images=self.seen.to_dict() if self.folder.writes else {},
            resume=resume_state(self.loop, self.images, best=self.best, last=self.last) if resume else {},
        )
