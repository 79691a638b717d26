"""What to do where a step needs more memory than there is."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from imgcls.errors import DeviceError
from imgcls.host.devices import is_out_of_memory
from imgcls.recipes.schema import Recipe


class OutOfMemoryError(DeviceError, MemoryError):
    """The device has too little memory for a step."""


@contextmanager
def told_what_to_do(recipe: Recipe, device: torch.device) -> Iterator[None]:
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
            f"out of memory on {device}, with {train.batch_size} images of {recipe.data.image_px} px in a step"
            + (f" of {train.accumulate} portions" if train.accumulate > 1 else ""),
            hint="; ".join(hints) or "smaller images (data.image_px), or another network",
        ) from exc
