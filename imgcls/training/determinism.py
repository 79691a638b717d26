"""Arithmetic that gives the same bits in every run on the same device."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from imgcls.errors import ConfigError

# One of the two values with which cuBLAS adds up in a fixed order; it has to stand in the environment.
CUBLAS_VARIABLE, CUBLAS_VALUE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
NOT_THERE = " does not have a deterministic implementation"


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
