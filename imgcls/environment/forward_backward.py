"""One forward and backward pass of a small network, and whether two devices agree on it.

Runs where torch could be imported; the comparison itself needs none.
"""

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# float32 against float64 on the CPU was off by up to 2e-6; wrong kernels are off by whole digits.
CPU_TOLERANCE = 1e-4
# Convolutions on NVIDIA cards round their inputs to TF32's 10 bits by default, which alone moves gradients by 1e-3.
DEVICE_TOLERANCE = 1e-2
TIMED_PASSES = 3


@dataclass(frozen=True, slots=True)
class PassAnswer:
    """What one pass computed, as plain numbers.

    Attributes:
        loss: mean cross-entropy of the batch.
        gradients: of every parameter, flattened, by its name.
        pass_ms: median time of one more pass, in ms.
    """

    loss: float
    gradients: dict[str, tuple[float, ...]]
    pass_ms: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far an answer is from the reference.

    Attributes:
        loss_difference: relative; infinite where a value isn't finite.
        gradient_difference: the worst parameter's, relative to that parameter's largest gradient.
        worst_parameter: its name.
        agrees: whether both are within the tolerance.
    """

    loss_difference: float
    gradient_difference: float
    worst_parameter: str
    agrees: bool


def run_pass(device: "torch.device", dtype: "torch.dtype") -> PassAnswer:
    """Run a network of convolution, batch norm, linear layer and cross-entropy forward and backward.

    Args:
        device: where it runs; weights and inputs are drawn on the CPU, so that every device gets the same.
        dtype: of weights and inputs.
    """
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(0)
    # SiLU, because ReLU's jump turns a rounding into another gradient, which would hide behind a wide tolerance.
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.SiLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    network.to(device, dtype)
    images_BCHW = torch.randn(8, 3, 16, 16, generator=generator).to(device, dtype)
    labels_B = torch.arange(8).to(device)

    def one_pass() -> tuple[float, dict[str, tuple[float, ...]]]:
        network.zero_grad()
        loss = nn.functional.cross_entropy(network(images_BCHW), labels_B)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = {
            name: tuple(parameter.grad.detach().cpu().double().flatten().tolist())
            for name, parameter in network.named_parameters()
            if parameter.grad is not None
        }
        return loss.item(), gradients

    # The first pass also loads kernels and libraries; reading the answers back waits for the device.
    loss, gradients = one_pass()
    times = []
    for _ in range(TIMED_PASSES):
        start = time.perf_counter()
        one_pass()
        times.append(time.perf_counter() - start)
    return PassAnswer(loss, gradients, sorted(times)[TIMED_PASSES // 2] * 1000)


def compare(answer: PassAnswer, reference: PassAnswer, *, tolerance: float) -> Comparison:
    """Measure how far an answer is from the reference.

    Args:
        answer: from the device on trial.
        reference: from the CPU.
        tolerance: largest relative difference that counts as agreement.
    Returns:
        Infinite differences for values that aren't finite and for gradients that are missing or of another size.
    """
    loss_difference = _relative_difference((answer.loss,), (reference.loss,))
    differences = {
        name: _relative_difference(answer.gradients.get(name, ()), expected)
        for name, expected in reference.gradients.items()
    }
    worst = max(differences, key=lambda name: differences[name])
    agrees = loss_difference <= tolerance and differences[worst] <= tolerance
    return Comparison(loss_difference, differences[worst], worst, agrees)


def _relative_difference(values: tuple[float, ...], expected: tuple[float, ...]) -> float:
    # Spelt out because every comparison with NaN is false, max()'s too, so that NaN would pass as agreement.
    if len(values) != len(expected) or not all(map(math.isfinite, (*values, *expected))):
        return math.inf
    scale = max(map(abs, expected)) or 1.0
    return max(abs(value - other) for value, other in zip(values, expected, strict=True)) / scale
