"""torch.compile, for networks and devices where it pays, with the same results whether a run was cut or not.

Shapes: B batch, C channels (3), H height, W width.
"""

import logging
import math

import torch
from torch import Tensor, nn

from imgcls.errors import ConfigError, DeviceError

# torch gives up compiling a function after eight variants, and a run may need each of ours with and without frozen
# weights.
MAX_SIZES = 4
HINTS = {
    "cpu": "install a C++ compiler (Debian: apt install g++; macOS: xcode-select --install; Windows: Build Tools for "
    "Visual Studio), or leave out train.compile",
    "cuda": "install Triton (pip install triton) and a C compiler, or leave out train.compile",
}


class CompiledNetwork:
    """Runs full batches compiled, and others, such as an epoch's last, as they are.

    Each size is compiled for itself, and which sizes are is decided here: torch's own choice, to compile a second size
    for all further ones, would depend on what a process has seen before, and a resumed run has seen less.

    Args:
        network: whose weights stay where they are.
        sizes: of batches that are compiled.
    """

    def __init__(self, network: nn.Module, sizes: frozenset[int]) -> None:
        self.network, self.sizes = network, sizes
        self._compiled = torch.compile(network, dynamic=False)

    def __call__(self, input_BCHW: Tensor) -> Tensor:
        """The network's logits.

        Raises:
            DeviceError: the network can't be compiled.
        """
        if len(input_BCHW) not in self.sizes:
            logits_BK: Tensor = self.network(input_BCHW)
            return logits_BK
        try:
            logits_BK = self._compiled(input_BCHW)
        except torch._dynamo.exc.TorchDynamoException as exc:
            raise _cannot_compile("this network", exc, input_BCHW.device) from exc
        return logits_BK


def compiled_sizes(batch_size: int, portions: int) -> frozenset[int]:
    """How many images a full batch's portions hold."""
    return frozenset({math.ceil(batch_size / portions), batch_size // portions})


def check_compiler(device: torch.device, *, num_sizes: int) -> None:
    """Compile something small, so that a missing compiler shows before the data are opened.

    Args:
        device: to compile for.
        num_sizes: of batches that a run is going to compile.
    Raises:
        ConfigError: too many sizes.
        DeviceError: nothing can be compiled here.
    """
    if num_sizes > MAX_SIZES:
        raise ConfigError(
            f"train.compile would compile {num_sizes} sizes of batches, more than {MAX_SIZES}",
            hint="fewer stages in train.resolution, or a batch_size that train.accumulate divides",
        )
    # It looks for CUDA on machines that have none, and says so.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    try:
        torch.compile(_probe, dynamic=False)(torch.zeros(8, device=device))
    # Whatever a missing or broken tool chain raises, and that is many things.
    except Exception as exc:
        raise _cannot_compile("anything", exc, device) from exc


def _probe(values: Tensor) -> Tensor:
    return values.sin() + 1


def _cannot_compile(what: str, exc: Exception, device: torch.device) -> DeviceError:
    said = next((line.strip() for line in str(exc).splitlines() if line.strip()), type(exc).__name__)
    return DeviceError(
        f"train.compile: torch can't compile {what} for {device}: {said}",
        hint=HINTS.get(device.type, "leave out train.compile"),
    )
