"""The training loop: one epoch after the other, interruptible after any step and exact when it goes on.

Shapes: N training images, B batch, C channels (3), H height, W width.
"""

import itertools
import math
import time

import torch
from torch import Tensor, nn

from imgcls.datasets.labelled_images import Batch, is_multi_label
from imgcls.datasets.readers.archive_images import shards_of
from imgcls.distributed.control import Control
from imgcls.distributed.data_parallel import average_statistics, broadcast_weights
from imgcls.distributed.sharding import Shard, check_can_be_sharded, shard_of, shard_order
from imgcls.errors import DataError
from imgcls.runs.events import OnEvent, ShouldStop, StepProgress
from imgcls.training.augmentation.inputs import TrainingInput
from imgcls.training.batch_norm import SETTLED_STEPS, measure_statistics
from imgcls.training.early_stopping import but_for_time
from imgcls.training.ema import EmaNetwork
from imgcls.training.fine_tuning.phase_setup import PhaseSetup
from imgcls.training.loss import LossMonitor
from imgcls.training.optimization.lr_schedule import rate_factor
from imgcls.training.optimization.optimizer import Optimisers
from imgcls.training.position import EpochSummary, Position
from imgcls.training.rng import epoch_order, sharded_order

# Images of shards that are shuffled together: some gigabytes of photographs, which the system's cache still holds.
SHUFFLE_BUFFER = 20_000


class Loop:
    """A network in training and all that its next step depends on.

    Args:
        phase_setup: of the run, with its network, images and recipe. The processes that it names share the batches;
            each has a loop, and calls the same methods at the same time.
    Raises:
        DataError: fewer than two images.
        ConfigError: batches too small to be shared.
    """

    def __init__(self, phase_setup: PhaseSetup) -> None:
        self.phase_setup, self.processes = phase_setup, phase_setup.processes
        self.network, self.images = phase_setup.network, phase_setup.images
        self.recipe, self.device = phase_setup.recipe, phase_setup.device
        network, images, recipe, train = self.network, self.images, self.recipe, self.recipe.train
        check_can_be_sharded(train.batch_size, self.processes)
        broadcast_weights(network, self.processes)
        self.control = Control(self.processes, save_sec=60 * train.save_every_min)
        self.ema = EmaNetwork(network, decay=train.ema_decay, every=train.ema_every) if train.ema_decay else None
        self.position = Position()
        self._one_class_each = not (recipe.augment.mixup or recipe.augment.cutmix or is_multi_label(images))
        self.num_images = len(images)
        if self.num_images < 2:
            raise DataError(
                f"{self.num_images} training image(s): nothing can be learnt from that",
                hint="add images, or check the folder given with --data",
            )
        self._shards_N = shards_of(images)
        self.steps_per_epoch = math.ceil(self._num_used() / train.batch_size)
        self.total_steps = self.steps_per_epoch * train.epochs
        self.inputs = TrainingInput(
            recipe,
            phase_setup.transform,
            num_images=self.num_images,
            num_classes=len(images.classes),
            device=self.device,
            rank=self.processes.rank,
        )

    @property
    def evaluated_network(self) -> nn.Module:
        """The network whose answers count: the EMA, once it has moved, where there is one."""
        return self.ema.network if self.ema and self.ema.num_updates else self.network

    @property
    def optimisers(self) -> Optimisers:
        """Those of the phase that is under way."""
        return self.phase_setup.optimisers

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
        stopped = self.phase_setup.begin_epoch(position.epoch, on_event, but_for_time(should_stop))
        if stopped is not None:
            return stopped
        order_N = self._order(position.epoch)[: self._num_used()]
        order_N = order_N[position.batch * train.batch_size :]
        flipped_N = self.inputs.flipped(order_N, position.epoch)
        monitor = LossMonitor(
            self.device,
            peak_lr=self.recipe.optim.lr,
            total=position.loss_total,
            count=position.loss_count,
            processes=self.processes,
        )
        images_before = position.images
        own_N, own_size = shard_order(order_N, train.batch_size, self.processes)
        batches = iter(self.phase_setup.source.batches(own_N, batch_size=own_size, device=self.device))
        # A loader may draw from torch's global generator as it starts, so the first batch comes before the seeding.
        first = next(batches, None)
        self.inputs.begin(position.epoch)
        batches = itertools.chain(() if first is None else (first,), batches)
        starts = range(0, len(order_N), train.batch_size)
        decision = None
        for start, batch in zip(starts, batches, strict=True):
            shard = shard_of(order_N[start : start + train.batch_size], self.processes)
            num_images, report = self._num_to_train_on(batch, shard), False
            if num_images:
                loss = self.train_on(batch, shard, flipped_N[start : start + train.batch_size], num_images)
                position.step += 1
                position.images += num_images
                report = monitor.add(loss, num_images=len(batch.labels_B) if shard.counts else 0)
            position.batch += 1
            if position.batch == self.steps_per_epoch:
                continue
            decision = self.control.after_step(should_stop, report=report)
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
        position.correct += self.phase_setup.step.take_num_correct()
        on_event(self._progress(monitor.mean, speed))
        if position.batch < self.steps_per_epoch:
            self.inputs.load_state_dict(self.inputs.state_dict())
            return self.control.reason(should_stop) if decision and decision.stop else None
        if self.ema and position.step % self.ema.every:
            self.ema.update()
        average_statistics(self.networks, self.processes)
        seconds, speed = position.epoch_sec, position.epoch_images / max(position.epoch_sec, 1e-9)
        train_top1 = position.train_top1(self.processes) if self._one_class_each else None
        position.begin_next_epoch()
        return EpochSummary(monitor.mean, train_top1, self.optimisers.rate, seconds, speed)

    def _order(self, epoch: int) -> Tensor:
        """The epoch's images; the same however they are held, so that a run may go on with more or less memory."""
        if self._shards_N is None:
            return epoch_order(self.recipe.train.seed, epoch, self.num_images)
        return sharded_order(self.recipe.train.seed, epoch, self._shards_N, buffer=SHUFFLE_BUFFER)

    def train_on(self, batch: Batch, shard: Shard, flipped_B: Tensor, num_images: int) -> Tensor:
        """Make one step: rate, input, arithmetic, EMA.

        Args:
            batch: the bytes.
            shard: which part of a whole batch they are.
            flipped_B: of `TrainingInput.flipped`, for the whole batch.
            num_images: that all processes train on in this step.
        Returns:
            The mean loss of this process's part, detached, on the device.
        """
        step, phase = self.position.step, self.phase_setup.phase
        begun = phase.first_epoch * self.steps_per_epoch
        # Batches whose images were all damaged made no step.
        in_phase = max(step - begun, 0)
        self.optimisers.set_rate(rate_factor(in_phase, phase.epochs * self.steps_per_epoch, self.recipe.schedule))
        if self.phase_setup.kept is None:
            inputs, target = self.inputs.prepare(batch, shard, flipped_B, done=step / self.total_steps)
        else:
            inputs, target = self.inputs.choose_view(batch, shard, flipped_B), batch.labels_B
        # The mean of the processes' gradients becomes that of the whole batch's images, however they are shared.
        weight = len(batch.labels_B) * self.processes.count / num_images if shard.counts else 0.0
        loss = self.phase_setup.step(inputs, target, weight=weight)
        if self.ema and (step + 1) % self.ema.every == 0:
            self.ema.update()
        return loss

    def settle_batch_norms(self) -> None:
        """Measure batch norm's statistics at the end of an epoch, while the phase's steps are too few for them."""
        begun = self.phase_setup.phase.first_epoch * self.steps_per_epoch
        if self.phase_setup.keeps_statistics or self.position.step - begun > SETTLED_STEPS:
            return
        for network in self.networks:
            measure_statistics(
                network,
                self.images,
                transform=self.inputs.transform,
                device=self.device,
                batch_size=self.recipe.train.batch_size,
                seed=self.recipe.train.seed,
            )

    def _num_to_train_on(self, batch: Batch, shard: Shard) -> int:
        """Images of the whole batch, or 0 where it is passed over: damaged ones drop out, and one may be left."""
        num = len(batch.labels_B)
        if self.processes.count == 1:
            return num if num >= min(2, self.recipe.train.batch_size) else 0
        if not self.phase_setup.source.drops_damaged:
            return len(shard.batch_B)
        num_all, num_short = self.processes.total(torch.tensor([num * shard.counts, num < 2])).tolist()
        return 0 if num_short else int(num_all)

    @property
    def networks(self) -> list[nn.Module]:
        """Those with weights of their own: the one in training, and its EMA."""
        return [self.network, self.ema.network] if self.ema else [self.network]

    def _num_used(self) -> int:
        # A last batch of one has no variance for batch norm to measure. The image that is left out, another one in
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
