"""Which arithmetic a run trains in: its precision, and whether it gives the same bits in every run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from imgcls.errors import ConfigError, DeviceError
from imgcls.host.devices import supports_bfloat16, supports_float16

# One of the two values with which cuBLAS adds up in a fixed order; it has to stand in the environment.
CUBLAS_VARIABLE, CUBLAS_VALUE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
NOT_THERE = " does not have a deterministic implementation"


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


@contextmanager
def deterministic_algorithms(device: torch.device) -> Iterator[None]:
    """Have torch use algorithms only whose result doesn't depend on the order in which threads come by.

    What was set before is put back afterwards: torch's settings belong to the whole process.

    Args:
        device: where the work is done.
    Raises:
        ConfigError: an operation has no such algorithm on this device.
    """
    cudnn = torch.backends.cudnn
    before = (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled())
    flags, variable = (cudnn.deterministic, cudnn.benchmark), os.environ.get(CUBLAS_VARIABLE)
    if device.type == "cuda":
        os.environ.setdefault(CUBLAS_VARIABLE, CUBLAS_VALUE)
    torch.use_deterministic_algorithms(True)
    # Its benchmark takes whichever algorithm was faster this time.
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as exc:
        operation, found, _rest = str(exc).partition(NOT_THERE)
        if not found:
            raise
        raise ConfigError(
            f"train.deterministic: {operation.split()[-1]} of this network has no deterministic algorithm on {device}",
            hint="leave out --deterministic, train another network, or use --device cpu",
        ) from exc
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = flags
        if device.type == "cuda" and variable is None:
            del os.environ[CUBLAS_VARIABLE]
