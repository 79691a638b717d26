"""Which arithmetic a run trains in."""

from dataclasses import dataclass

import torch

from imgcls.core.device import supports_bfloat16


@dataclass(frozen=True, slots=True)
class Precision:
    """The arithmetic of the forward and backward pass; weights and optimiser stay in float32.

    Attributes:
        name: `fp32` or `bf16`, as results and checkpoints call it.
        autocast_dtype: what torch.autocast lowers to; None where it stays out of the way.
    """

    name: str = "fp32"
    autocast_dtype: torch.dtype | None = None


def choose_precision(asked: str, device: torch.device) -> Precision:
    """Turn the recipe's train.precision into what the device does; `auto` takes bf16 where it pays."""
    if asked == "bf16" or (asked == "auto" and supports_bfloat16(device)):
        return Precision("bf16", torch.bfloat16)
    return Precision()
