"""From a batch of bytes to what the network is trained on: size, random changes, arithmetic, memory layout.

Shapes: N training images, B batch, C channels (3), H height, W width.
"""

from typing import Any

import torch
from torch import Tensor

from imgcls.datasets.labelled_images import Batch
from imgcls.distributed.sharding import Shard
from imgcls.images.transform import Transform
from imgcls.recipes.schema import Recipe
from imgcls.training.augmentation.geometry import Augmentation, augment, resize_batch
from imgcls.training.augmentation.mixup import Mixture, mixture
from imgcls.training.augmentation.random_transforms import (
    ImageTransform,
    each,
    erasing,
    policy_transform,
    random_crop,
)
from imgcls.training.rng import generator_for, rng_state, seed_for, set_rng_state


class TrainingInput:
    """Turns batches into the network's input, differently in every epoch and the same each time an epoch is repeated.

    Args:
        recipe: resolved.
        transform: its arithmetic turns bytes into the network's input.
        num_images: training images, N.
        num_classes: K.
        device: where batches come from and go to.
        rank: of this process among those that share the batches.
    """

    def __init__(
        self,
        recipe: Recipe,
        transform: Transform,
        *,
        num_images: int,
        num_classes: int,
        device: torch.device,
        rank: int = 0,
    ) -> None:
        self.transform, self.device = transform, device
        self._seed, self._rank = recipe.train.seed, rank
        self._stages = recipe.train.resolution
        self._channels_last = recipe.train.channels_last
        settings = recipe.augment
        self._alternates = settings.flip == "alternate"
        red, green, blue = (round(255 * value) for value in transform.mean)
        fill = (red, green, blue)
        augmentation = Augmentation(
            flip=settings.flip,
            translate_px=settings.translate_px,
            padding=settings.padding,
            cutout_px=settings.cutout_px,
            fill=fill,
        )
        sides_px = {transform.crop_px, *(px for _until, px in self._stages)}
        self._augmentations = {px: augmentation.scaled(px / transform.crop_px) for px in sides_px}
        # What the recipe leaves out is not there, and costs a step nothing.
        self._crops: dict[int, ImageTransform] = {}
        self._policy = self._erasing = None
        self._mixture: Mixture | None = None
        if settings.crop_scale < 1:
            self._crops = {px: random_crop(transform.scaled_size(px), smallest=settings.crop_scale) for px in sides_px}
        if settings.policy != "off":
            self._policy = policy_transform(
                settings.policy, num_ops=settings.policy_ops, magnitude=settings.policy_magnitude, fill=fill
            )
        if settings.erasing:
            self._erasing = erasing(settings.erasing, fill=fill)
        if settings.mixup or settings.cutmix:
            self._mixture = mixture(mixup=settings.mixup, cutmix=settings.cutmix, num_classes=num_classes)
        self._generator = generator_for(self._seed, "augment", device=device)
        self._flipped_N = (
            torch.rand(num_images, generator=generator_for(self._seed, "mirror")) < 0.5
        )  # the name under which old runs drew
        # Where the generators stood when a run was cut within an epoch; empty at an epoch's start.
        self._cut: dict[str, Any] = {}

    def begin(self, epoch: int) -> None:
        """Set the generators to where an epoch begins, or to where it was cut."""
        # What happens to the images is drawn for whole batches, and the same for all processes. Dropout isn't: each
        # process drops its own.
        self._generator.manual_seed(seed_for(self._seed, "augment", epoch))
        torch.manual_seed(seed_for(self._seed, f"global/{self._rank}" if self._rank else "global", epoch))
        # On another kind of device a generator has other states: there it begins with the epoch.
        if "augment" in self._cut and self._cut.get("device", self.device.type) == self.device.type:
            self._generator.set_state(self._cut["augment"])
        if "global" in self._cut:
            set_rng_state(self._cut["global"], self.device)
        self._cut = {}

    def flipped(self, order_N: Tensor, epoch: int) -> Tensor:
        """Which of the images `flip = "alternate"` flips in an epoch: bool, on the device."""
        return (self._flipped_N[order_N] ^ bool(epoch % 2)).to(self.device)

    def prepare(self, batch: Batch, shard: Shard, flipped_B: Tensor, *, done: float) -> tuple[Tensor, Tensor]:
        """The network's input for a batch, and what it is to answer.

        Flips, shifts and cutouts are those of one process that has the whole batch; crops, policies, erasing and
        mixtures, which torchvision draws from the global generator, are each process's own.

        Args:
            batch: bytes.
            shard: which part of a whole batch they were asked for as.
            flipped_B: of `flipped`, for the whole batch.
            done: fraction of the run, which decides the resolution.
        Returns:
            Images, float32, shape (batch, 3, side, side), and class indices, int64, shape (batch,), or, where
            images are mixed or show several classes, probabilities, float32, shape (batch, num_classes).
        """
        images_BCHW, target = batch.images_BCHW, batch.labels_B
        if target.ndim == 2:
            target = target.float()
        side_px = next((px for until, px in self._stages if done < until), self.transform.crop_px)
        # A random crop has the stage's size already.
        size_px = self.transform.scaled_size(side_px)
        images_BCHW = each(self._crops[side_px], images_BCHW) if self._crops else resize_batch(images_BCHW, size_px)
        if self._policy is not None:
            images_BCHW = each(self._policy, images_BCHW)
        augmentation = self._augmentations[side_px]
        places = shard.places(batch.indices_B)
        images_BCHW = augment(
            images_BCHW,
            augmentation,
            generator=self._generator,
            flip_B=flipped_B[places] if self._alternates else None,
            batch_size=len(shard.batch_B),
            places=places,
        )
        if self._erasing is not None:
            images_BCHW = each(self._erasing, images_BCHW)
        input_BCHW = self.transform.normalise(images_BCHW)
        if self._mixture is not None:
            input_BCHW, target = self._mixture(input_BCHW, target)
        if self._channels_last:
            input_BCHW = input_BCHW.contiguous(memory_format=torch.channels_last)
        return input_BCHW, target

    def choose_view(self, batch: Batch, shard: Shard, flipped_B: Tensor) -> Tensor:
        """What `prepare` does where an image changes by nothing but flipping, on kept features.

        Args:
            batch: in the place of images, features of shape (batch, 1, ...), or (batch, 2, ...) with those of the
                flipped image.
            shard: which part of a whole batch they were asked for as.
            flipped_B: of `flipped`, for the whole batch.
        Returns:
            Shape (batch, ...).
        """
        features_BV = batch.images_BCHW
        if features_BV.shape[1] == 1:
            return features_BV[:, 0]
        if not self._alternates:
            flipped_B = torch.rand(len(shard.batch_B), device=self.device, generator=self._generator) < 0.5
        chosen_B = flipped_B[shard.places(batch.indices_B)].long()
        return features_BV[torch.arange(len(features_BV), device=self.device), chosen_B]

    def state_dict(self) -> dict[str, Any]:
        """Where the generators stand within an epoch; or will, where the epoch has not been taken up again yet."""
        if self._cut:
            return dict(self._cut)
        return {
            "augment": self._generator.get_state(),
            "device": self.device.type,
            "global": rng_state(self.device),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on, at the next `begin`, from what `state_dict` returned; what is missing begins with the epoch."""
        # They are set when the epoch begins; what is none of PyTorch's is refused now.
        same_device = state.get("device", self.device.type) == self.device.type
        if "augment" in state and same_device:
            torch.Generator(self.device).set_state(state["augment"])
        if "global" in state:
            torch.Generator().set_state(state["global"]["cpu"])
        self._cut = dict(state)
