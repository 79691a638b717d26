"""The training loop: one epoch after the other, interruptible after any step and exact when it goes on.

Shapes: N training pictures, B batch, C channels (3), H height, W width.
"""

import itertools
import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from imgcls.core.transforms import Transform
from imgcls.data.labelled import Batch, LabelledImages
from imgcls.errors import DataError
from imgcls.training.average import AveragedNetwork
from imgcls.training.config import Recipe
from imgcls.training.events import OnEvent, ShouldStop, StepProgress
from imgcls.training.inputs import TrainingInput
from imgcls.training.monitor import LossMonitor
from imgcls.training.optim import Optimisers, rate_factor
from imgcls.training.precision import Precision
from imgcls.training.random_streams import epoch_order
from imgcls.training.staging import Staging
from imgcls.training.stopping import but_for_time


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        epoch: whole epochs done.
        batch: batches done of the epoch that is under way.
        step: optimiser steps done in all.
        loss_total, loss_count: of the epoch under way, for its mean loss.
        images: pictures trained on in all.
        train_sec: spent in steps.
        elapsed_sec: since the run began, without the time that a cut run lay still.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_total: float = 0.0
    loss_count: int = 0
    images: int = 0
    train_sec: float = 0.0
    elapsed_sec: float = 0.0


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """What the training pass of an epoch came to; see `EpochEnd`."""

    train_loss: float
    lr: float
    seconds: float
    images_per_sec: float


class Loop:
    """A network in training and all that its next step depends on.

    Args:
        network: on the device, in the memory format that the recipe asks for.
        images: the training pictures.
        recipe: resolved.
        transform: its arithmetic turns bytes into the network's input.
        device: where the network is.
        precision: of the arithmetic.
    Raises:
        DataError: fewer than two pictures.
    """

    def __init__(
        self,
        network: nn.Module,
        images: LabelledImages,
        recipe: Recipe,
        *,
        transform: Transform,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.network, self.images, self.recipe, self.device = network, images, recipe, device
        self.staging = Staging(network, images, recipe, transform=transform, device=device, precision=precision)
        train = recipe.train
        self.average = (
            AveragedNetwork(network, decay=train.ema_decay, every=train.ema_every) if train.ema_decay else None
        )
        self.position = Position()
        self.num_images = len(images)
        if self.num_images < 2:
            raise DataError(
                f"{self.num_images} training picture(s): nothing can be learnt from that",
                hint="add pictures, or check the folder given with --data",
            )
        self.steps_per_epoch = math.ceil(self._num_used() / train.batch_size)
        self.total_steps = self.steps_per_epoch * train.epochs
        self.inputs = TrainingInput(
            recipe, transform, num_images=self.num_images, num_classes=len(images.classes), device=device
        )

    @property
    def evaluated_network(self) -> nn.Module:
        """The network whose answers count: the moving average where there is one."""
        return self.average.network if self.average else self.network

    @property
    def optimisers(self) -> Optimisers:
        """Those of the phase that is under way."""
        return self.staging.optimisers

    def run_epoch(self, on_event: OnEvent, should_stop: ShouldStop) -> EpochSummary | str:
        """Train to the end of the epoch.

        Returns:
            The epoch's figures, or the reason why it was stopped before its end.
        Raises:
            DivergedError: the loss is no longer finite.
        """
        position, train = self.position, self.recipe.train
        started = time.perf_counter()
        stopped = self.staging.begin_epoch(position.epoch, on_event, but_for_time(should_stop))
        if stopped is not None:
            return stopped
        order_N = epoch_order(train.seed, position.epoch, self.num_images)[: self._num_used()]
        order_N = order_N[position.batch * train.batch_size :]
        mirrored_N = self.inputs.mirrored(order_N, position.epoch)
        monitor = LossMonitor(
            self.device, peak_lr=self.recipe.optim.lr, total=position.loss_total, count=position.loss_count
        )
        images_before = position.images
        batches = iter(self.staging.source.batches(order_N, batch_size=train.batch_size, device=self.device))
        # A loader may draw from torch's global generator as it starts, so the first batch comes before the seeding.
        first = next(batches, None)
        self.inputs.begin(position.epoch)
        reason: str | None = None
        for done, batch in enumerate(itertools.chain(() if first is None else (first,), batches)):
            # Damaged pictures drop out of their batch, so that one may be left alone.
            if len(batch.labels_B) >= min(2, train.batch_size):
                chosen = mirrored_N[done * train.batch_size : (done + 1) * train.batch_size]
                if len(chosen) > len(batch.labels_B):
                    # Without its damaged pictures the batch no longer lines up with what was chosen by position.
                    chosen = self.inputs.mirrored(batch.indices_B, position.epoch)
                loss = self.train_on(batch, chosen)
                position.step += 1
                position.batch += 1
                position.images += len(batch.labels_B)
                if monitor.add(loss, num_images=len(batch.labels_B)):
                    monitor.check(step=position.step)
                    speed = (position.images - images_before) / (time.perf_counter() - started)
                    on_event(self._progress(monitor.mean, speed))
            else:
                position.batch += 1
            if position.batch < self.steps_per_epoch and (reason := should_stop()) is not None:
                break
        monitor.check(step=position.step)
        seconds = time.perf_counter() - started
        speed = (position.images - images_before) / max(seconds, 1e-9)
        position.train_sec += seconds
        position.loss_total, position.loss_count = monitor.total, monitor.count
        on_event(self._progress(monitor.mean, speed))
        if reason is not None:
            return reason
        position.epoch, position.batch, position.loss_total, position.loss_count = position.epoch + 1, 0, 0.0, 0
        return EpochSummary(monitor.mean, self.optimisers.rate, seconds, speed)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, beside the recipe and the pictures: tensors and plain values."""
        state: dict[str, Any] = {
            "position": vars(self.position).copy(),
            "phase": self.staging.number,
            "network": self.network.state_dict(),
            "optimisers": self.optimisers.state_dict(),
            "scaler": self.staging.scaler.state_dict() if self.staging.scaler else {},
            "streams": self.inputs.state_dict() if self.position.batch else {},
        }
        if self.average:
            state["average"] = {"weights": self.average.network.state_dict(), "num_updates": self.average.num_updates}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned in a loop with the same recipe and pictures."""
        self.position = Position(**state["position"])
        # Between two phases the optimisers are still those of the earlier one.
        self.staging.enter(state["phase"])
        self.network.load_state_dict(state["network"])
        self.optimisers.load_state_dict(state["optimisers"])
        if self.staging.scaler:
            self.staging.scaler.load_state_dict(state["scaler"])
        self.inputs.load_state_dict(state["streams"])
        if self.average:
            self.average.network.load_state_dict(state["average"]["weights"])
            self.average.num_updates = state["average"]["num_updates"]

    def train_on(self, batch: Batch, mirrored_B: Tensor) -> Tensor:
        """Make one step: rate, input, arithmetic, moving average.

        Args:
            batch: the bytes.
            mirrored_B: of `TrainingInput.mirrored`.
        Returns:
            The batch's mean loss, detached, on the device.
        """
        step, phase = self.position.step, self.staging.phase
        begun = phase.first_epoch * self.steps_per_epoch
        # Batches whose pictures were all damaged made no step.
        in_phase = max(step - begun, 0)
        self.optimisers.set_rate(rate_factor(in_phase, phase.epochs * self.steps_per_epoch, self.recipe.schedule))
        if self.staging.kept is None:
            inputs, target = self.inputs.prepare(batch, mirrored_B, done=step / self.total_steps)
        else:
            inputs, target = self.inputs.choose_view(batch.images_BCHW, mirrored_B), batch.labels_B
        loss = self.staging.step(inputs, target)
        if self.average and (step + 1) % self.average.every == 0:
            self.average.update()
        return loss

    def _num_used(self) -> int:
        # A last batch of one has no spread for batch norm to measure. The picture that is left out, another one in
        # each epoch, costs less than a batch of another size.
        size = self.recipe.train.batch_size
        return self.num_images - 1 if size > 1 and self.num_images % size == 1 else self.num_images

    def _progress(self, loss: float, images_per_sec: float) -> StepProgress:
        return StepProgress(
            epoch=self.position.epoch + 1,
            step=self.position.batch,
            steps_per_epoch=self.steps_per_epoch,
            loss=loss,
            lr=self.optimisers.rate,
            images_per_sec=images_per_sec,
        )
