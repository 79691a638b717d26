"""Which arithmetic a run trains in."""

from dataclasses import dataclass

import torch

from imgcls.errors import DeviceError
from imgcls.host.devices import supports_bfloat16, supports_float16


@dataclass(frozen=True, slots=True)
class Precision:
    """The arithmetic of the forward and backward pass; weights and optimiser stay in float32.

    Attributes:
        name: `fp32`, `bf16` or `fp16`, as results and checkpoints call it.
        autocast_dtype: what torch.autocast lowers to; None where it stays out of the way.
        scaled: whether the loss is scaled up, so that float16's small gradients don't vanish.
    """

    name: str = "fp32"
    autocast_dtype: torch.dtype | None = None
    scaled: bool = False


def choose_precision(asked: str, device: torch.device) -> Precision:
    """Turn the recipe's train.precision into what the device does; `auto` takes bf16 where it pays.

    Raises:
        DeviceError: fp16 on a device that is slower in it than in float32.
    """
    if asked == "fp16":
        if not supports_float16(device):
            raise DeviceError(
                f"train.precision = 'fp16' is no faster on {device}: it has no float16 arithmetic in hardware",
                hint="let imgcls choose: --set train.precision=auto",
            )
        return Precision("fp16", torch.float16, scaled=True)
    if asked == "bf16" or (asked == "auto" and supports_bfloat16(device)):
        return Precision("bf16", torch.bfloat16)
    return Precision()
