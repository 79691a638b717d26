"""The training loop: one epoch after the other, interruptible after any step and exact when it goes on.

Shapes: N training pictures, B batch, C channels (3), H height, W width, K classes.
"""

import itertools
import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

from imgcls.core.transforms import Transform
from imgcls.data.augment import Augmentation, augment, resize_batch
from imgcls.data.labelled import Batch, LabelledImages
from imgcls.errors import DataError
from imgcls.training.average import AveragedNetwork
from imgcls.training.config import Recipe
from imgcls.training.events import OnEvent, ShouldStop, StepProgress
from imgcls.training.monitor import LossMonitor
from imgcls.training.optim import Optimisers, rate_factor
from imgcls.training.random_streams import epoch_order, generator_for, global_state, seed_for, set_global_state


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
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_total: float = 0.0
    loss_count: int = 0
    images: int = 0
    train_sec: float = 0.0


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
        autocast_dtype: bfloat16, or None for float32 throughout.
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
        autocast_dtype: torch.dtype | None,
    ) -> None:
        self.network, self.images, self.recipe = network, images, recipe
        self.transform, self.device = transform, device
        self.optimisers = Optimisers(network, recipe.optim)
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
        self._augmentation = _augmentation(recipe, transform)
        self._autocast = torch.autocast(device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None)
        self._augment_stream = generator_for(train.seed, "augment", device=device)
        self._mirrored_N = torch.rand(self.num_images, generator=generator_for(train.seed, "mirror")) < 0.5
        # Where the generators stood when a run was cut within an epoch; empty at an epoch's start.
        self._cut_streams: dict[str, Any] = {}

    @property
    def evaluated_network(self) -> nn.Module:
        """The network whose answers count: the moving average where there is one."""
        return self.average.network if self.average else self.network

    def run_epoch(self, on_event: OnEvent, should_stop: ShouldStop) -> EpochSummary | str:
        """Train to the end of the epoch.

        Returns:
            The epoch's figures, or the reason why it was stopped before its end.
        Raises:
            DivergedError: the loss is no longer finite.
        """
        position, train = self.position, self.recipe.train
        order_N = epoch_order(train.seed, position.epoch, self.num_images)[: self._num_used()]
        order_N = order_N[position.batch * train.batch_size :]
        mirrored_N = self._mirrored(order_N)
        monitor = LossMonitor(
            self.device, peak_lr=self.recipe.optim.lr, total=position.loss_total, count=position.loss_count
        )
        self.network.train()
        started, images_before = time.perf_counter(), position.images
        batches = iter(self.images.batches(order_N, batch_size=train.batch_size, device=self.device))
        # A loader may draw from torch's global generator as it starts, so the first batch comes before the seeding.
        first = next(batches, None)
        self._begin_streams()
        reason: str | None = None
        for done, batch in enumerate(itertools.chain(() if first is None else (first,), batches)):
            # Damaged pictures drop out of their batch, so that one may be left alone.
            if len(batch.labels_B) >= min(2, train.batch_size):
                chosen = mirrored_N[done * train.batch_size : (done + 1) * train.batch_size]
                loss = self._step(batch, chosen)
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
        streams = {}
        if self.position.batch:
            streams = {"augment": self._augment_stream.get_state(), "global": global_state(self.device)}
        state: dict[str, Any] = {
            "position": vars(self.position).copy(),
            "network": self.network.state_dict(),
            "optimisers": self.optimisers.state_dict(),
            "streams": streams,
        }
        if self.average:
            state["average"] = {"weights": self.average.network.state_dict(), "num_updates": self.average.num_updates}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned in a loop with the same recipe and pictures."""
        self.position = Position(**state["position"])
        self.network.load_state_dict(state["network"])
        self.optimisers.load_state_dict(state["optimisers"])
        self._cut_streams = state["streams"]
        if self.average:
            self.average.network.load_state_dict(state["average"]["weights"])
            self.average.num_updates = state["average"]["num_updates"]

    def _step(self, batch: Batch, mirrored_B: Tensor) -> Tensor:
        optim, step = self.recipe.optim, self.position.step
        self.optimisers.set_rate(rate_factor(step, self.total_steps, self.recipe.schedule))
        with self._autocast:
            logits_BK = self.network(self._input(batch.images_BCHW, mirrored_B))
        loss = F.cross_entropy(logits_BK.float(), batch.labels_B, label_smoothing=optim.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        if optim.grad_clip:
            nn.utils.clip_grad_norm_(self.optimisers.parameters, optim.grad_clip)
        self.optimisers.step()
        if self.average and (step + 1) % self.average.every == 0:
            self.average.update()
        return loss.detach()

    def _input(self, images_BCHW: Tensor, mirrored_B: Tensor) -> Tensor:
        full_px = self.transform.crop_px
        done = self.position.step / self.total_steps
        side_px = next((px for until, px in self.recipe.train.resolution if done < until), full_px)
        images_BCHW = resize_batch(images_BCHW, side_px)
        # A batch that lacks damaged pictures no longer lines up with the choice that was made by position.
        alternate = self._augmentation.flip == "alternate" and len(mirrored_B) == len(images_BCHW)
        images_BCHW = augment(
            images_BCHW,
            self._augmentation.scaled(side_px / full_px),
            generator=self._augment_stream,
            flip_B=mirrored_B if alternate else None,
        )
        input_BCHW = self.transform.normalise(images_BCHW)
        if self.recipe.train.channels_last:
            input_BCHW = input_BCHW.contiguous(memory_format=torch.channels_last)
        return input_BCHW

    def _num_used(self) -> int:
        # A last batch of one has no spread for batch norm to measure. The picture that is left out, another one in
        # each epoch, costs less than a batch of another size.
        size = self.recipe.train.batch_size
        return self.num_images - 1 if size > 1 and self.num_images % size == 1 else self.num_images

    def _mirrored(self, order_N: Tensor) -> Tensor:
        return (self._mirrored_N[order_N] ^ bool(self.position.epoch % 2)).to(self.device)

    def _begin_streams(self) -> None:
        seed, epoch = self.recipe.train.seed, self.position.epoch
        if self._cut_streams:
            self._augment_stream.set_state(self._cut_streams["augment"])
            set_global_state(self._cut_streams["global"], self.device)
            self._cut_streams = {}
            return
        self._augment_stream.manual_seed(seed_for(seed, "augment", epoch))
        torch.manual_seed(seed_for(seed, "global", epoch))

    def _progress(self, loss: float, images_per_sec: float) -> StepProgress:
        return StepProgress(
            epoch=self.position.epoch + 1,
            step=self.position.batch,
            steps_per_epoch=self.steps_per_epoch,
            loss=loss,
            lr=self.optimisers.rate,
            images_per_sec=images_per_sec,
        )


def _augmentation(recipe: Recipe, transform: Transform) -> Augmentation:
    settings = recipe.augment
    red, green, blue = (round(255 * value) for value in transform.mean)
    return Augmentation(
        flip=settings.flip,
        translate_px=settings.translate_px,
        padding=settings.padding,
        cutout_px=settings.cutout_px,
        fill=(red, green, blue),
    )
