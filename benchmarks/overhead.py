"""What imgcls's training loop costs over a bare loop written by hand with the same network, data and arithmetic.

In one process, an epoch of imgcls (`imgcls.train`, whole, with its checks, progress and clocks) and an epoch of
`bare_loop.py` take turns; the first of each is not counted. An epoch has as many images as a few seconds take. Wall
seconds count steps with batches and augmentation, for both by the same clock; validation and checkpoints between
imgcls's epochs are left out. CPU seconds (of all threads, checkpoints included) are given beside them, because they
hold on a machine that others use too. The target is at least 0.95 of the bare loop's images/s.

    python benchmarks/overhead.py --data DIR       DIR holds cifar-10-batches-py; about 3 minutes on two cores
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import cifar10_files
import runs
import torch
from bare_loop import BareLoop, followed

from imgcls import load_recipe, train
from imgcls.host.devices import choose_device, supports_bfloat16
from imgcls.recipes.schema import Recipe
from imgcls.runs.events import EpochEnd, Started, StepProgress

TARGET = 0.95
PILOT_IMAGES = 1024


@dataclass
class Turns:
    """Takes turns with imgcls: told of its events, runs an epoch of the bare loop after each of its own.

    Attributes:
        ours, bare: (wall, CPU) seconds of each epoch but the first.
    """

    loop: BareLoop
    ours: list[tuple[float, float]] = field(default_factory=list)
    bare: list[tuple[float, float]] = field(default_factory=list)
    _began: tuple[float, float] = (0.0, 0.0)
    _latest: tuple[float, float] = (0.0, 0.0)

    def on_event(self, event: object) -> None:
        """Read the clocks; after an epoch's end, run the other loop."""
        if isinstance(event, Started):
            self._began = self._clocks()
        elif isinstance(event, StepProgress):
            # The last one comes right after the epoch's last step, before validation.
            self._latest = self._clocks()
        elif isinstance(event, EpochEnd):
            began = self._clocks()
            self.loop.epoch(event.epoch)
            ended = self._clocks()
            if event.epoch > 1:
                # Since the last epoch's end a checkpoint was written too; imgcls's own clock begins with the steps.
                _wall_sec, cpu_sec = _difference(self._latest, self._began)
                self.ours.append((event.seconds, cpu_sec))
                self.bare.append(_difference(ended, began))
            self._began = self._clocks()

    def _clocks(self) -> tuple[float, float]:
        if self.loop.device.type == "cuda":
            torch.cuda.synchronize(self.loop.device)
        return time.perf_counter(), time.process_time()


def _difference(later: tuple[float, float], earlier: tuple[float, float]) -> tuple[float, float]:
    return later[0] - earlier[0], later[1] - earlier[1]


def images_for(recipe: Recipe, loop: BareLoop, seconds: float) -> int:
    """How many images take about so many seconds, in whole batches."""
    size, whole = recipe.train.batch_size, len(loop.labels_N)
    loop.labels_N = loop.labels_N[:PILOT_IMAGES]
    loop.epoch(0)
    started = time.perf_counter()
    loop.epoch(1)
    speed = len(loop.labels_N) / (time.perf_counter() - started)
    return min(max(round(speed * seconds / size), 2) * size, whole)


def measure(name: str, data: Path, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Print what a recipe's loops came to.

    Returns:
        For the wall clock and the CPU's, images per second of both loops and their ratio.
    """
    device = choose_device(arguments.device).device
    flags = {"data.source": str(data), "data.allow_modified": True, "train.epochs": arguments.rounds + 1}
    recipe, dropped = followed(load_recipe(runs.CONFIGS / name, flags=flags))
    # As imgcls chooses it.
    wanted = recipe.train.precision == "bf16" or (recipe.train.precision == "auto" and supports_bfloat16(device))
    dtype = torch.bfloat16 if wanted else None
    count = arguments.images
    if count is None:
        pilot = BareLoop(recipe, cifar10_files.load(data), device=device, autocast_dtype=dtype)
        count = images_for(recipe, pilot, arguments.round_sec)
    with cifar10_files.opened(data, limit=count) as part, tempfile.TemporaryDirectory() as temporary:
        recipe, _dropped = followed(load_recipe(runs.CONFIGS / name, flags=flags | {"data.source": str(part)}))
        cut = cifar10_files.load(part)
        turns = Turns(BareLoop(recipe, cut, device=device, autocast_dtype=dtype))
        train(recipe, output=Path(temporary) / "run", device=str(device), on_event=turns.on_event)
        return report(name, turns, len(cut.train_labels_N), dropped)


def report(name: str, turns: Turns, count: int, dropped: list[str]) -> dict[str, dict[str, float]]:
    """Medians, ratios and spread."""
    found = {}
    print(f"{name}: {len(turns.ours)} rounds each of {count:,} images, in turn")
    if dropped:
        print(f"  left at their defaults on both sides: {', '.join(dropped)}")
    for which, clock, unit in ((0, "wall", "images/s"), (1, "CPU", "images per CPU second")):
        speeds = [[count / times[which] for times in loop] for loop in (turns.ours, turns.bare)]
        ours, bare = map(statistics.median, speeds)
        paired = [mine / theirs for mine, theirs in zip(*speeds, strict=True)]
        print(
            f"  {clock}: imgcls {ours:,.0f} {unit} (median; {min(speeds[0]):,.0f} to {max(speeds[0]):,.0f}), bare loop "
            f"{bare:,.0f} ({min(speeds[1]):,.0f} to {max(speeds[1]):,.0f}); ratio {ours / bare:.3f}, of pairs "
            f"{statistics.median(paired):.3f} (target: at least {TARGET})",
            flush=True,
        )
        found[clock] = {"imgcls": ours, "bare": bare, "ratio": ours / bare}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds cifar-10-batches-py, or an archive of CIFAR-10")
    parser.add_argument("--recipes", nargs="+", default=["mlp.toml", "cnn.toml"], help="files in configs/")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--round-sec", type=float, default=4.0, help="about how long one takes")
    parser.add_argument("--images", type=int, help="in a round, instead of as many as fit into it")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    with cifar10_files.opened(arguments.data) as data:
        print(runs.heading(data))
        for name in arguments.recipes:
            measure(name, data, arguments)


if __name__ == "__main__":
    main()
