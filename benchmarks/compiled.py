"""Whether train.compile pays for a recipe: steps of its network as it is and compiled, in turn, start-up counted.

Both take the recipe's own steps (`TrainingStep`: forward, loss, backward, optimiser) on random images of each size
that the recipe trains on. The compiler's cache is emptied first, as on a machine's first run.

    python benchmarks/compiled.py [RECIPE.toml]     configs/cnn.toml by default; about 4 minutes on two cores
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import runs
import torch
from torch import Tensor

from imgcls import load_recipe
from imgcls.host.devices import choose_device
from imgcls.models.building import build_network
from imgcls.recipes.schema import Recipe, transform_of
from imgcls.training.compiling import CompiledNetwork, compiled_sizes
from imgcls.training.optimization.optimizer import Optimisers
from imgcls.training.precision import choose_precision
from imgcls.training.setup.building import placed
from imgcls.training.step import TrainingStep

CLASSES = 10
CIFAR10_IMAGES = 50_000


def build_step(recipe: Recipe, device: torch.device, *, compiled: bool) -> TrainingStep:
    """A recipe's step with a network of its own."""
    torch.manual_seed(0)
    network = build_network(recipe.model.name, num_classes=CLASSES, arguments=recipe.model.arguments)
    placed(network, recipe, device).train()
    forward: Callable[[Tensor], Tensor] = network
    if compiled:
        forward = CompiledNetwork(network, compiled_sizes(recipe.train.batch_size, recipe.train.accumulate))
    precision = choose_precision(recipe.train.precision, device)
    optimisers = Optimisers(network, recipe.optim)
    return TrainingStep(forward, optimisers, recipe, device=device, precision=precision)


def measure(recipe: Recipe, device: torch.device, side_px: int, rounds: int) -> tuple[float, float, float]:
    """Seconds of the first compiled step, and medians of a plain and of a compiled one."""
    size = recipe.train.batch_size
    images_BCHW = torch.randn(size, 3, side_px, side_px, device=device)
    if recipe.train.channels_last:
        images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    labels_B = torch.arange(size, device=device) % CLASSES
    plain, compiled = (build_step(recipe, device, compiled=kind) for kind in (False, True))

    def timed(step: TrainingStep) -> float:
        started = time.perf_counter()
        step(images_BCHW, labels_B).item()
        return time.perf_counter() - started

    timed(plain)
    first = timed(compiled)
    pairs = [(timed(plain), timed(compiled)) for _ in range(rounds)]
    return first, *(statistics.median(times) for times in zip(*pairs, strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", type=Path, default=runs.CONFIGS / "cnn.toml")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--images", type=int, default=CIFAR10_IMAGES, help="of an epoch, for the sum over a run")
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    device = choose_device(arguments.device).device
    sides_px = sorted({transform_of(recipe).crop_px, *(px for _until, px in recipe.train.resolution)})
    spent = saved = 0.0
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        for side_px in sides_px:
            first, plain, compiled = measure(recipe, device, side_px, arguments.rounds)
            print(
                f"{side_px} px: plain {plain * 1e3:.1f} ms a step, compiled {compiled * 1e3:.1f} ms (medians of "
                f"{arguments.rounds}, in turn), ratio {plain / compiled:.2f}; first compiled step {first:.1f} s"
            )
            # Each size has its share of the steps; which is which matters little.
            steps = recipe.train.epochs * arguments.images / recipe.train.batch_size / len(sides_px)
            spent += first
            saved += steps * (plain - compiled)
    verdict = "pays" if saved > spent else "does not pay"
    print(f"{arguments.recipe.name} on {device}: {spent:.0f} s to compile, {saved:+.0f} s of steps saved: it {verdict}")


if __name__ == "__main__":
    main()
