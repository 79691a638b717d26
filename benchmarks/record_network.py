"""The network, the optimisers and the numbers of the published speed-record recipe; see `record_recipe.py`.

Shapes: N images, B batch, C channels, H height, W width, K classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

STEM_WIDTH = 24
WHITENING_FLOOR = 5e-4


@dataclass(frozen=True)
class Settings:
    """The published numbers; learning rates are for a loss that is summed over the batch.

    Attributes:
        filter_lr, filter_momentum, newton_schulz_steps: of Muon, which moves the filters.
        bias_lr, head_lr, momentum: of SGD with Nesterov's momentum, which moves biases and the last layer.
        decay_per_image: weight decay of SGD, times the batch, whatever the learning rate.
        whiten_bias_epochs: how long the first layer's bias is trained.
    """

    epochs: float = 8
    batch_size: int = 2000
    widths: tuple[int, int, int] = (64, 256, 256)
    filter_lr: float = 0.24
    filter_momentum: float = 0.6
    newton_schulz_steps: int = 3
    bias_lr: float = 0.053
    head_lr: float = 0.67
    momentum: float = 0.85
    decay_per_image: float = 2e-6
    label_smoothing: float = 0.2
    whiten_bias_epochs: float = 3
    translate_px: int = 2


def stage(fan_in: int, fan_out: int) -> nn.Sequential:
    """Two convolutions, each with norm and GELU; the first one's output is halved before its norm."""
    parts: list[nn.Module] = []
    for inputs in (fan_in, fan_out):
        conv = nn.Conv2d(inputs, fan_out, 3, padding=1, bias=False)
        with torch.no_grad():
            # As many outputs as there are inputs begin by passing theirs on.
            nn.init.dirac_(conv.weight[:inputs])
        norm = nn.BatchNorm2d(fan_out, eps=1e-12, momentum=0.4)
        norm.weight.requires_grad_(False)
        parts += [conv, *([nn.MaxPool2d(2)] if not parts else []), norm, nn.GELU()]
    return nn.Sequential(*parts)


class RecordNetwork(nn.Module):
    """A whitening layer, three stages, and a linear layer on the largest activations.

    Shapes:
        images_BCHW float (batch, 3, 32, 32) to logits_BK (batch, num_classes).
    """

    def __init__(self, num_classes: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM_WIDTH, 2)
        self.stem.weight.requires_grad_(False)
        fans = (STEM_WIDTH, *widths)
        self.stages = nn.Sequential(*(stage(fans[index], width) for index, width in enumerate(widths)))
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        with torch.no_grad():
            self.head.weight.div_(self.head.weight.std())

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, one row an image."""
        features_BC = self.stages(F.gelu(self.stem(images_BCHW))).amax(dim=(2, 3))
        return self.head(features_BC) / features_BC.shape[1]

    @torch.no_grad()
    def whiten(self, images_NCHW: Tensor) -> None:
        """Set the first layer to the directions of 2 x 2 patches, scaled to unit spread, and their negatives."""
        patches = F.unfold(images_NCHW.float(), 2).transpose(1, 2).flatten(0, 1)
        spread, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (directions / (spread + WHITENING_FLOOR).sqrt()).T.reshape(-1, 3, 2, 2)
        self.stem.weight.copy_(torch.cat([filters, -filters]))


class Optimisers:
    """Muon on filters that are brought to unit rows on average before each step, SGD on the rest."""

    def __init__(self, network: RecordNetwork, settings: Settings) -> None:
        self.filters = [p for p in network.stages.parameters() if p.ndim == 4]
        # torch's Muon takes matrices only: these lie over the same memory, their columns in memory's order.
        self.matrices = [nn.Parameter(as_matrix(p.detach())) for p in self.filters]
        self.muon = torch.optim.Muon(
            self.matrices,
            lr=settings.filter_lr,
            momentum=settings.filter_momentum,
            weight_decay=0,
            ns_steps=settings.newton_schulz_steps,
        )
        biases = [p for p in network.stages.parameters() if p.ndim == 1 and p.requires_grad]
        decay = settings.decay_per_image * settings.batch_size
        groups = [([network.stem.bias], settings.bias_lr), (biases, settings.bias_lr)]
        groups.append(([network.head.weight], settings.head_lr))
        self.sgd = torch.optim.SGD(
            [{"params": params, "lr": lr, "weight_decay": decay / lr} for params, lr in groups],
            momentum=settings.momentum,
            nesterov=True,
        )
        self.groups = [*self.sgd.param_groups, *self.muon.param_groups]
        self.peaks = [group["lr"] for group in self.groups]

    def step(self, *, stem_factor: float, factor: float) -> None:
        """Move all weights; the factors are of the first group's learning rate and of the others'."""
        for index, (group, peak) in enumerate(zip(self.groups, self.peaks, strict=True)):
            group["lr"] = peak * (factor if index else stem_factor)
        with torch.no_grad():
            for parameter, matrix in zip(self.filters, self.matrices, strict=True):
                parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
                matrix.grad = as_matrix(parameter.grad)
        self.sgd.step()
        self.muon.step()
        for parameter in self.filters:
            parameter.grad = None
        self.sgd.zero_grad()


def as_matrix(filters: Tensor) -> Tensor:
    """One row an output channel; filters in channels_last are not copied."""
    return filters.permute(0, 2, 3, 1).reshape(len(filters), -1)
