"""From a batch of bytes to what the network is trained on: size, random changes, arithmetic, memory layout.

Shapes: N training pictures, B batch, C channels (3), H height, W width.
"""

from typing import Any

import torch
from torch import Tensor

from imgcls.core.transforms import Transform
from imgcls.data.augment import Augmentation, augment, resize_batch
from imgcls.data.labelled import Batch
from imgcls.training.config import Recipe
from imgcls.training.random_streams import generator_for, global_state, seed_for, set_global_state


class TrainingInput:
    """Turns batches into the network's input, differently in every epoch and the same each time an epoch is repeated.

    Args:
        recipe: resolved.
        transform: its arithmetic turns bytes into the network's input.
        num_images: training pictures, N.
        device: where batches come from and go to.
    """

    def __init__(self, recipe: Recipe, transform: Transform, *, num_images: int, device: torch.device) -> None:
        self.transform, self.device = transform, device
        self._seed = recipe.train.seed
        self._stages = recipe.train.resolution
        self._channels_last = recipe.train.channels_last
        self._augmentation = _augmentation(recipe, transform)
        self._stream = generator_for(self._seed, "augment", device=device)
        self._mirrored_N = torch.rand(num_images, generator=generator_for(self._seed, "mirror")) < 0.5
        # Where the generators stood when a run was cut within an epoch; empty at an epoch's start.
        self._cut: dict[str, Any] = {}

    def begin(self, epoch: int) -> None:
        """Set the generators to where an epoch begins, or to where it was cut."""
        if self._cut:
            self._stream.set_state(self._cut["augment"])
            set_global_state(self._cut["global"], self.device)
            self._cut = {}
            return
        self._stream.manual_seed(seed_for(self._seed, "augment", epoch))
        torch.manual_seed(seed_for(self._seed, "global", epoch))

    def mirrored(self, order_N: Tensor, epoch: int) -> Tensor:
        """Which of the pictures `flip = "alternate"` mirrors in an epoch: bool, on the device."""
        return (self._mirrored_N[order_N] ^ bool(epoch % 2)).to(self.device)

    def prepare(self, batch: Batch, mirrored_B: Tensor, *, done: float) -> Tensor:
        """The network's input for a batch.

        Args:
            batch: bytes.
            mirrored_B: of `mirrored`, for the pictures that were asked for.
            done: fraction of the run, which decides the resolution.
        Returns:
            float32, shape (batch, 3, side, side).
        """
        images_BCHW = batch.images_BCHW
        full_px = self.transform.crop_px
        side_px = next((px for until, px in self._stages if done < until), full_px)
        images_BCHW = resize_batch(images_BCHW, side_px)
        # A batch that lacks damaged pictures no longer lines up with the choice that was made by position.
        alternate = self._augmentation.flip == "alternate" and len(mirrored_B) == len(images_BCHW)
        images_BCHW = augment(
            images_BCHW,
            self._augmentation.scaled(side_px / full_px),
            generator=self._stream,
            flip_B=mirrored_B if alternate else None,
        )
        input_BCHW = self.transform.normalise(images_BCHW)
        if self._channels_last:
            input_BCHW = input_BCHW.contiguous(memory_format=torch.channels_last)
        return input_BCHW

    def state_dict(self) -> dict[str, Any]:
        """Where the generators stand within an epoch."""
        return {"augment": self._stream.get_state(), "global": global_state(self.device)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on, at the next `begin`, from what `state_dict` returned; an empty one begins the epoch."""
        self._cut = state


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
