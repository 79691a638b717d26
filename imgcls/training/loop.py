"""The training loop: one epoch after the other, interruptible after any step and exact when it goes on.

Shapes: N training images, B batch, C channels (3), H height, W width.
"""

import itertools
import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from imgcls.datasets.labelled_images import Batch, LabelledImages
from imgcls.distributed.data_parallel import average_statistics, running_statistics, take_first_weights
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError
from imgcls.images.transform import Transform
from imgcls.recipes.schema import Recipe
from imgcls.runs.events import OnEvent, ShouldStop, StepProgress
from imgcls.training.augmentation.inputs import TrainingInput
from imgcls.training.control import Agreement
from imgcls.training.early_stopping import but_for_time
from imgcls.training.ema import EmaNetwork
from imgcls.training.fine_tuning.stages import Staging
from imgcls.training.loss_monitor import LossMonitor
from imgcls.training.optimizer import Optimisers, rate_factor
from imgcls.training.precision import Precision
from imgcls.training.rng import epoch_order
from imgcls.training.sharding import Share, check_can_be_shared, own_order, share_of


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        epoch: whole epochs done.
        batch: batches done of the epoch that is under way.
        step: optimiser steps done in all.
        loss_total, loss_count: of this process in the epoch under way, for its mean loss.
        images: images trained on in all, by all processes.
        train_sec: spent in steps.
        epoch_images, epoch_sec: the same of the epoch under way.
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
    epoch_images: int = 0
    epoch_sec: float = 0.0


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
        images: the training images.
        recipe: resolved.
        transform: its arithmetic turns bytes into the network's input.
        device: where the network is.
        precision: of the arithmetic.
        processes: that share the batches; each has a loop, and calls the same methods at the same time.
    Raises:
        DataError: fewer than two images.
        ConfigError: batches too small to be shared.
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
        processes: Processes | None = None,
    ) -> None:
        self.network, self.images, self.recipe, self.device = network, images, recipe, device
        self.processes = processes or Processes()
        train = recipe.train
        check_can_be_shared(train.batch_size, self.processes)
        take_first_weights(network, self.processes)
        self.staging = Staging(
            network,
            images,
            recipe,
            transform=transform,
            device=device,
            precision=precision,
            processes=self.processes,
        )
        self.agreement = Agreement(self.processes, save_sec=60 * train.save_every_min)
        self.average = EmaNetwork(network, decay=train.ema_decay, every=train.ema_every) if train.ema_decay else None
        self.position = Position()
        self.num_images = len(images)
        if self.num_images < 2:
            raise DataError(
                f"{self.num_images} training image(s): nothing can be learnt from that",
                hint="add images, or check the folder given with --data",
            )
        self.steps_per_epoch = math.ceil(self._num_used() / train.batch_size)
        self.total_steps = self.steps_per_epoch * train.epochs
        self.inputs = TrainingInput(
            recipe,
            transform,
            num_images=self.num_images,
            num_classes=len(images.classes),
            device=device,
            rank=self.processes.rank,
        )

    @property
    def evaluated_network(self) -> nn.Module:
        """The network whose answers count: the moving average where there is one."""
        return self.average.network if self.average else self.network

    @property
    def optimisers(self) -> Optimisers:
        """Those of the phase that is under way."""
        return self.staging.optimisers

    def run_epoch(self, on_event: OnEvent, should_stop: ShouldStop) -> EpochSummary | str | None:
        """Train to the end of the epoch.

        Returns:
            The epoch's figures, or the reason why it was stopped before its end, or None where it is time to save: the
            next call goes on.
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
            self.device,
            peak_lr=self.recipe.optim.lr,
            total=position.loss_total,
            count=position.loss_count,
            processes=self.processes,
        )
        images_before = position.images
        own_N, own_size = own_order(order_N, train.batch_size, self.processes)
        batches = iter(self.staging.source.batches(own_N, batch_size=own_size, device=self.device))
        # A loader may draw from torch's global generator as it starts, so the first batch comes before the seeding.
        first = next(batches, None)
        self.inputs.begin(position.epoch)
        batches = itertools.chain(() if first is None else (first,), batches)
        starts = range(0, len(order_N), train.batch_size)
        decision = None
        for start, batch in zip(starts, batches, strict=True):
            share = share_of(order_N[start : start + train.batch_size], self.processes)
            num_images, report = self._num_to_train_on(batch, share), False
            if num_images:
                loss = self.train_on(batch, share, mirrored_N[start : start + train.batch_size], num_images)
                position.step += 1
                position.images += num_images
                report = monitor.add(loss, num_images=len(batch.labels_B) if share.counts else 0)
            position.batch += 1
            if position.batch == self.steps_per_epoch:
                continue
            decision = self.agreement.after_step(should_stop, report=report)
            if decision.report:
                monitor.check(step=position.step)
                speed = (position.images - images_before) / (time.perf_counter() - started)
                on_event(self._progress(monitor.mean, speed))
            if decision.stop or decision.save:
                break
        monitor.check(step=position.step)
        seconds = time.perf_counter() - started
        speed = (position.images - images_before) / max(seconds, 1e-9)
        position.train_sec += seconds
        position.epoch_sec += seconds
        position.epoch_images += position.images - images_before
        position.loss_total, position.loss_count = monitor.total, monitor.count
        on_event(self._progress(monitor.mean, speed))
        if position.batch < self.steps_per_epoch:
            self.inputs.load_state_dict(self.inputs.state_dict())
            return self.agreement.reason(should_stop) if decision and decision.stop else None
        average_statistics(self._networks, self.processes)
        seconds, speed = position.epoch_sec, position.epoch_images / max(position.epoch_sec, 1e-9)
        position.epoch, position.batch, position.loss_total, position.loss_count = position.epoch + 1, 0, 0.0, 0
        position.epoch_images, position.epoch_sec = 0, 0.0
        return EpochSummary(monitor.mean, self.optimisers.rate, seconds, speed)

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on, beside the recipe and the images: tensors and plain values.

        Within an epoch each process has something of its own, which is under `processes` in the order of the ranks.
        """
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
        if self.position.batch and self.processes.count > 1:
            position = self.position
            own = {"streams": state["streams"], "loss_total": position.loss_total, "loss_count": position.loss_count}
            own["statistics"] = [value.cpu() for value in running_statistics(self._networks)]
            state["processes"] = self.processes.gather(own)
            for key in ("loss_total", "loss_count"):
                state["position"][key] = sum(each[key] for each in state["processes"])
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned in a loop with the same recipe and images.

        With as many processes as before all goes on exactly; with another number only their own generators and batch
        norms, and the last digits, are others.
        """
        self.position = Position(**state["position"])
        # Between two phases the optimisers are still those of the earlier one.
        self.staging.enter(state["phase"])
        self.network.load_state_dict(state["network"])
        self.optimisers.load_state_dict(state["optimisers"])
        if self.staging.scaler:
            self.staging.scaler.load_state_dict(state["scaler"])
        if self.average:
            self.average.network.load_state_dict(state["average"]["weights"])
            self.average.num_updates = state["average"]["num_updates"]
        streams, each = state["streams"], state.get("processes", ())
        if len(each) == self.processes.count:
            own = each[self.processes.rank]
            streams = own["streams"]
            self.position.loss_total, self.position.loss_count = own["loss_total"], own["loss_count"]
            for value, saved in zip(running_statistics(self._networks), own["statistics"], strict=True):
                value.copy_(saved)
        elif not self.processes.is_first:
            streams = {key: value for key, value in streams.items() if key != "global"}
            self.position.loss_total, self.position.loss_count = 0.0, 0
        self.inputs.load_state_dict(streams)

    def train_on(self, batch: Batch, share: Share, mirrored_B: Tensor, num_images: int) -> Tensor:
        """Make one step: rate, input, arithmetic, moving average.

        Args:
            batch: the bytes.
            share: which part of a whole batch they are.
            mirrored_B: of `TrainingInput.mirrored`, for the whole batch.
            num_images: that all processes train on in this step.
        Returns:
            The mean loss of this process's part, detached, on the device.
        """
        step, phase = self.position.step, self.staging.phase
        begun = phase.first_epoch * self.steps_per_epoch
        # Batches whose images were all damaged made no step.
        in_phase = max(step - begun, 0)
        self.optimisers.set_rate(rate_factor(in_phase, phase.epochs * self.steps_per_epoch, self.recipe.schedule))
        if self.staging.kept is None:
            inputs, target = self.inputs.prepare(batch, share, mirrored_B, done=step / self.total_steps)
        else:
            inputs, target = self.inputs.choose_view(batch, share, mirrored_B), batch.labels_B
        # The mean of the processes' gradients becomes that of the whole batch's images, however they are shared.
        weight = len(batch.labels_B) * self.processes.count / num_images if share.counts else 0.0
        loss = self.staging.step(inputs, target, weight=weight)
        if self.average and (step + 1) % self.average.every == 0:
            self.average.update()
        return loss

    def _num_to_train_on(self, batch: Batch, share: Share) -> int:
        """Images of the whole batch, or 0 where it is passed over: damaged ones drop out, and one may be left."""
        num = len(batch.labels_B)
        if self.processes.count == 1:
            return num if num >= min(2, self.recipe.train.batch_size) else 0
        if not self.staging.source.drops_damaged:
            return len(share.batch_B)
        num_all, num_short = self.processes.total(torch.tensor([num * share.counts, num < 2])).tolist()
        return 0 if num_short else int(num_all)

    @property
    def _networks(self) -> list[nn.Module]:
        return [self.network, self.average.network] if self.average else [self.network]

    def _num_used(self) -> int:
        # A last batch of one has no spread for batch norm to measure. The image that is left out, another one in
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
