"""Arithmetic of fewer bits for predictions, where the device has it in hardware."""

from typing import Literal

import torch
from torch import nn

from imgcls.errors import DeviceError
from imgcls.host.devices import supports_bfloat16

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse what the device would only emulate, slower than float32.

    Raises:
        DeviceError: says which precision to take instead.
    """
    if precision == "bf16" and not supports_bfloat16(device):
        raise DeviceError(f"{device} has no bf16 arithmetic", hint="leave out --precision bf16")
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError(
            "fp16 is for accelerators; a CPU only emulates it",
            hint="--precision bf16" if supports_bfloat16(device) else "leave out --precision fp16",
        )


def lower_weights(network: nn.Module, precision: Precision) -> None:
    """Store the weights of convolutions and linear layers in fewer bits; norms keep theirs.

    Under autocast alone each batch would convert all weights anew: of AlexNet's 61 million, as long as the arithmetic.
    """
    if precision == "fp32":
        return
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and not isinstance(
            module, nn.modules.linear.NonDynamicallyQuantizableLinear
        ):
            module.to(DTYPES[precision])
