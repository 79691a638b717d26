"""The 8-epoch recipe that holds CIFAR-10's speed record, as the baseline of `cnn.py` and `gpu.py`.

Written anew from what is published: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498),
and the settings of its repository's fastest script with Muon, airbench94_muon. There it takes 2.59 s on an A100 to
94.01 % (mean of 200 seeds) with six views of each test image. It has neither lookahead nor an EMA of the weights; those
belong to the older scripts.

What is kept: network, initialisation, optimisers, schedule, batches, augmentation, six views, and on a GPU weights in
half precision with norms in single. What differs: nothing is compiled; each batch is shifted as it is drawn instead of
the whole epoch at once, which draws the same shifts; logits enter the loss as float32; on the CPU the weights stay in
float32 under bfloat16 autocast.

Training seconds are those of the steps with their batches and augmentation, as imgcls counts them: loading, whitening,
measuring and the six views are left out, and whitening and views are given apart.

    python benchmarks/record_recipe.py --data DIR       DIR holds cifar-10-batches-py; about 10 minutes on two cores

Prints one JSON line an epoch and one at the end.
Shapes: N images, B batch, C channels, H height, W width, K classes.
"""

import argparse
import functools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cifar10_files
import torch
from record_network import Optimisers, RecordNetwork, Settings
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
SIDE_PX = 32
WHITENING_IMAGES = 5000
EVAL_BATCH = 2000


@dataclass(frozen=True)
class Epoch:
    """Where a run stands after an epoch: training seconds so far, and test accuracy of one plain view."""

    epoch: int
    train_sec: float
    top1: float


@dataclass(frozen=True)
class Result:
    """A finished run.

    Attributes:
        top1, six_views_top1: test accuracy.
        train_sec, whiten_sec, views_sec: the record's own clock runs through all three.
        images_per_sec: training images over train_sec.
    """

    top1: float
    six_views_top1: float
    train_sec: float
    whiten_sec: float
    views_sec: float
    images_per_sec: float
    device: str
    precision: str


class Batches:
    """The training images, drawn and augmented in batches of one size; what is left over waits for another epoch.

    Args:
        images_NCHW: uint8, on the device.
        labels_N: on the device.
        settings: the recipe.
        generator: on the device.
    """

    def __init__(self, images_NCHW: Tensor, labels_N: Tensor, settings: Settings, generator: torch.Generator) -> None:
        reach, count = settings.translate_px, len(images_NCHW)
        index = torch.arange(-reach, SIDE_PX + reach, device=images_NCHW.device).abs()
        reflected = torch.minimum(index, 2 * (SIDE_PX - 1) - index)
        # Channels last: a pixel is then copied in one piece, and the batch has the layout that convolutions want.
        self.padded_NHWC = images_NCHW[:, :, reflected][:, :, :, reflected].permute(0, 2, 3, 1).contiguous()
        self.labels_N, self.generator, self.reach = labels_N, generator, reach
        self.size = min(settings.batch_size, count)
        self.flipped_N = torch.rand(count, device=images_NCHW.device, generator=generator) < 0.5

    def __len__(self) -> int:
        return len(self.labels_N) // self.size

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Bytes (batch, 3, 32, 32) and labels; every second epoch flips each image horizontally."""
        device = self.labels_N.device
        options = {"device": device, "generator": self.generator}
        along = torch.arange(SIDE_PX, device=device)
        order_N = torch.randperm(len(self.labels_N), **options)
        for start in range(0, len(self) * self.size, self.size):
            rows_B = order_N[start : start + self.size]
            top_B, left_B = torch.randint(0, 2 * self.reach + 1, (2, self.size), **options)
            flip_B1 = (self.flipped_N[rows_B] ^ bool(number % 2))[:, None]
            across_BW = left_B[:, None] + torch.where(flip_B1, along.flip(0), along)
            down_BH = top_B[:, None] + along
            images_BHWC = self.padded_NHWC[rows_B[:, None, None], down_BH[:, :, None], across_BW[:, None, :]]
            yield images_BHWC.permute(0, 3, 1, 2), self.labels_N[rows_B]


def normalise(images_BCHW: Tensor, dtype: torch.dtype) -> Tensor:
    """Bytes to the network's input."""
    mean, std = channel_constants(images_BCHW.device)
    return images_BCHW.float().div_(255).sub_(mean).div_(std).to(dtype)


@functools.cache
def channel_constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation; kept, because a GPU would wait for each copy."""
    return torch.tensor(MEAN, device=device).view(3, 1, 1), torch.tensor(STD, device=device).view(3, 1, 1)


def six_views(network: Callable[[Tensor], Tensor], images_BCHW: Tensor) -> Tensor:
    """Logits of an image and its horizontal flip, unshifted (half of the weight) and moved up-left or down-right."""

    def both_sides(x_BCHW: Tensor) -> Tensor:
        return (network(x_BCHW).float() + network(x_BCHW.flip(-1)).float()) / 2

    padded_BCHW = F.pad(images_BCHW, (1, 1, 1, 1), "reflect")
    up_left_BK, down_right_BK = (both_sides(padded_BCHW[:, :, o : o + SIDE_PX, o : o + SIDE_PX]) for o in (0, 2))
    return both_sides(images_BCHW) / 2 + (up_left_BK + down_right_BK) / 4


class Training:
    """One run of the recipe on one device.

    Args:
        data: the images.
        settings: the recipe.
        seed: of all that is random.
        device: where it runs.
        precision: `half` (weights in float16), `bf16` (weights in bfloat16), `autocast` (bfloat16) or `fp32`.
    """

    def __init__(
        self, data: cifar10_files.Cifar10, settings: Settings, *, seed: int, device: torch.device, precision: str
    ) -> None:
        self.settings, self.device, self.precision = settings, device, precision
        torch.manual_seed(seed)
        num_classes = int(data.train_labels_N.max()) + 1
        network = RecordNetwork(num_classes, settings.widths).to(device, memory_format=torch.channels_last)
        self.dtype = {"half": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32)
        started = self._now()
        network.whiten(normalise(data.train_NCHW[:WHITENING_IMAGES].to(device), torch.float32))
        self.whiten_sec = self._now() - started
        for module in network.modules():
            if not isinstance(module, nn.BatchNorm2d) and not list(module.children()):
                module.to(self.dtype)
        self.network = network
        self.optimisers = Optimisers(network, settings)
        generator = torch.Generator(device).manual_seed(seed)
        self.batches = Batches(data.train_NCHW.to(device), data.train_labels_N.to(device), settings, generator)
        self.test_NCHW, self.test_labels_N = data.test_NCHW.to(device), data.test_labels_N.to(device)
        self.total_steps = math.ceil(settings.epochs * len(self.batches))
        self.stem_steps = math.ceil(settings.whiten_bias_epochs * len(self.batches))
        self.steps, self.train_sec = 0, 0.0

    def run(self, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> Result:
        """Train to the end, measuring after each epoch."""
        number, top1 = 0, 0.0
        while self.steps < self.total_steps:
            self._train_epoch(number)
            number += 1
            top1 = self.accuracy(self.network)
            on_epoch(Epoch(number, self.train_sec, top1))
        started = self._now()
        views = self.accuracy(lambda images_BCHW: six_views(self.network, images_BCHW))
        views_sec = self._now() - started
        speed = self.steps * self.batches.size / self.train_sec
        return Result(top1, views, self.train_sec, self.whiten_sec, views_sec, speed, str(self.device), self.precision)

    @torch.no_grad()
    def accuracy(self, answer: Callable[[Tensor], Tensor]) -> float:
        """Share of the test images whose class is the largest logit."""
        self.network.eval()
        correct = 0
        for images_BCHW, labels_B in zip(
            self.test_NCHW.split(EVAL_BATCH), self.test_labels_N.split(EVAL_BATCH), strict=True
        ):
            with self._autocast():
                logits_BK = answer(self._input(images_BCHW))
            correct += int((logits_BK.argmax(1) == labels_B).sum())
        return correct / len(self.test_labels_N)

    def _train_epoch(self, number: int) -> None:
        self.network.train()
        started = self._now()
        for images_BCHW, labels_B in self.batches.epoch(number):
            if self.steps >= self.total_steps:
                break
            self._step(images_BCHW, labels_B)
        self.train_sec += self._now() - started

    def _step(self, images_BCHW: Tensor, labels_B: Tensor) -> None:
        if self.steps >= self.stem_steps:
            # Nothing is left to learn in the first layer, and the backward pass ends before it.
            self.network.stem.bias.requires_grad_(False)
        with self._autocast():
            logits_BK = self.network(self._input(images_BCHW))
        smoothing = self.settings.label_smoothing
        F.cross_entropy(logits_BK.float(), labels_B, label_smoothing=smoothing, reduction="sum").backward()
        stem_factor = max(1 - self.steps / max(self.stem_steps, 1), 0.0)
        self.optimisers.step(stem_factor=stem_factor, factor=1 - self.steps / self.total_steps)
        self.steps += 1

    def _input(self, images_BCHW: Tensor) -> Tensor:
        return normalise(images_BCHW, self.dtype).contiguous(memory_format=torch.channels_last)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.precision == "autocast")

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("half", "bf16", "autocast", "fp32"))
    parser.add_argument("--epochs-fraction", type=float, default=1.0, help="of the 8 epochs, to try it out")
    parser.add_argument("--limit", type=int, help="training images at most, to try it out")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    precision = arguments.precision or ("half" if device.type == "cuda" else "autocast")
    torch.backends.cudnn.benchmark = True
    with cifar10_files.opened(arguments.data, limit=arguments.limit) as folder:
        data = cifar10_files.load(folder)
    settings = Settings(epochs=8 * arguments.epochs_fraction)
    training = Training(data, settings, seed=arguments.seed, device=device, precision=precision)
    result = training.run(lambda epoch: print(json.dumps(asdict(epoch)), flush=True))
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
