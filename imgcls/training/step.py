"""The arithmetic of one training step: forward, loss, backward, clipping, and the optimiser's move.

Shapes: B batch, C channels (3), H height, W width, K classes.
"""

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel

from imgcls.errors import DeviceError
from imgcls.host.devices import is_out_of_memory
from imgcls.host.terminal_text import counted
from imgcls.recipes.schema import Recipe
from imgcls.training.loss import build_loss, build_multi_label_loss
from imgcls.training.optimization.optimizer import Optimisers
from imgcls.training.precision import Precision


class TrainingStep:
    """Moves the weights by one batch; what the recipe doesn't ask for is left out here, and costs a step nothing.

    Args:
        forward: the network, or what runs it (compiled, or distributed over devices).
        optimisers: hold the weights that move.
        recipe: resolved.
        device: where the network is.
        precision: of forward and backward pass.
        scaler: scales the loss up where the precision asks for it.
        weights_K: what the classes weigh in the loss, on the device; None where they weigh the same.
        is_multi_label: whether images show any number of classes.
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        optimisers: Optimisers,
        recipe: Recipe,
        *,
        device: torch.device,
        precision: Precision,
        scaler: GradScaler | None = None,
        weights_K: Tensor | None = None,
        is_multi_label: bool = False,
    ) -> None:
        self.forward, self.optimisers = forward, optimisers
        self._max_norm, self._portions = recipe.optim.grad_clip, recipe.train.accumulate
        build = build_multi_label_loss if is_multi_label else build_loss
        self._loss = build(recipe.optim.label_smoothing, weights_K)
        self._autocast = torch.autocast(
            device.type, dtype=precision.autocast_dtype, enabled=precision.autocast_dtype is not None
        )
        self._scaler = scaler
        # Stays on the device: asking for it would make a GPU wait at every step.
        self._correct = torch.zeros((), dtype=torch.int64, device=device)
        # What several processes don't average yet.
        self._unsent = forward.no_sync if isinstance(forward, DistributedDataParallel) else contextlib.nullcontext

    def __call__(self, input_BCHW: Tensor, target: Tensor, *, weight: float = 1.0) -> Tensor:
        """Make the step, at the rate that is set.

        Args:
            input_BCHW: normalised images.
            target: class indices, int64, shape (batch,), or probabilities, float32, shape (batch, num_classes); of
                multi-label images always the latter, in any type.
            weight: of this batch's gradient, where it is averaged with those of other processes.
        Returns:
            The batch's mean loss, detached, on the device.
        """
        if self._portions == 1:
            loss = self._backward(input_BCHW, target, weight=weight)
        else:
            loss = self._backward_in_portions(input_BCHW, target, weight=weight)
        self.optimisers.step(max_norm=self._max_norm, scaler=self._scaler)
        return loss

    def take_num_correct(self) -> int:
        """Images whose class had the highest logit since the last call, as they were augmented."""
        num_correct = int(self._correct)
        self._correct.zero_()
        return num_correct

    def _backward(self, input_BCHW: Tensor, target: Tensor, *, weight: float, share: float = 1.0) -> Tensor:
        with self._autocast:
            logits_BK = self.forward(input_BCHW)
        # A mixture of two images has no one class.
        if target.ndim == 1 and weight:
            self._correct += (logits_BK.detach().argmax(1) == target).sum()
        loss = self._loss(logits_BK.float(), target)
        if share < 1:
            loss = loss * share
        weighted = loss if weight == 1 else loss * weight
        (weighted if self._scaler is None else self._scaler.scale(weighted)).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _backward_in_portions(self, input_BCHW: Tensor, target: Tensor, *, weight: float) -> Tensor:
        size = len(target)
        # One image alone has no variance for batch norm to measure.
        num_portions = max(min(self._portions, size // 2), 1)
        parts = zip(input_BCHW.tensor_split(num_portions), target.tensor_split(num_portions), strict=True)
        losses = []
        for number, (images, answers) in enumerate(parts, start=1):
            # The last portion sends the sum of all to the other processes.
            with self._unsent() if number < num_portions else contextlib.nullcontext():
                losses.append(self._backward(images, answers, weight=weight, share=len(answers) / size))
        return torch.stack(losses).sum()


class OutOfMemoryError(DeviceError, MemoryError):
    """The device has too little memory for a step."""


@contextlib.contextmanager
def explained_out_of_memory(recipe: Recipe, device: torch.device) -> Iterator[None]:
    """Name the settings that save memory when it runs out.

    Args:
        recipe: resolved.
        device: where the network is trained.
    Raises:
        OutOfMemoryError: in the place of what torch raises.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        train = recipe.train
        hints = []
        if train.batch_size >= 4 * train.accumulate:
            hints.append(f"--set train.accumulate={2 * train.accumulate} makes the same steps in smaller portions")
        if train.batch_size > 1:
            hints.append(f"--batch-size {train.batch_size // 2} makes smaller steps")
        raise OutOfMemoryError(
            f"out of memory on {device}, with {counted(train.batch_size, 'image')} "
            f"of {recipe.data.image_px} px in a step"
            + (f" of {train.accumulate} portions" if train.accumulate > 1 else ""),
            hint="; ".join(hints) or "smaller images (data.image_px), or another network",
        ) from exc
