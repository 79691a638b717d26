"""A run in its folder: epochs with validation, checkpoints, result."""

import math
import time
from typing import Any

import torch

from imgcls.errors import ProcessLostError
from imgcls.evaluation.multi_label.measuring import MultiLabelResult, best_thresholds
from imgcls.runs.events import EpochEnd, OnEvent, ShouldStop
from imgcls.runs.result import TrainResult
from imgcls.training.early_stopping import EARLY, is_out_of_patience
from imgcls.training.loss import DivergedError, diverged
from imgcls.training.position import EpochSummary, Measured
from imgcls.training.reporting import describe_result, describe_start, lost_process
from imgcls.training.rng import forked_rng
from imgcls.training.session_state import SessionState
from imgcls.training.validation import figures


class Session(SessionState):
    """A run from its first step, or from where it was cut, to its end; see `SessionState` for its arguments."""

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
        single = None if isinstance(result, MultiLabelResult) else result
        if isinstance(result, MultiLabelResult) and self.dataset.val is not None:
            # Nothing is chosen by the test images, where they stand in.
            self._multi_label = best_thresholds(result)
        ended = time.perf_counter()
        position.elapsed_sec = ended - self._began
        epoch = EpochEnd(
            epoch=position.epoch,
            step=position.step,
            lr=summary.lr,
            train_loss=summary.train_loss,
            split=images.description.split if images is not None else None,
            loss=result.loss if result else None,
            top1=single.top1 if single else None,
            top5=single.top5 if single else None,
            seconds=summary.seconds,
            images_per_sec=summary.images_per_sec,
            images=position.images,
            validation_sec=ended - begun if result else None,
            elapsed_sec=position.elapsed_sec,
            train_top1=summary.train_top1,
            map=result.mean_ap if isinstance(result, MultiLabelResult) else None,
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
