"""The small convolutional network of `configs/cnn.toml`, for images of some 32 pixels.

Its design is that of the networks that hold CIFAR-10's speed records: a first layer that whitens 2 x 2 patches and is
computed from the training images instead of learnt; blocks that halve the image early; a scaled last layer.

Shapes: N images, B batch, C channels (3), H height, W width, K classes.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

PATCH_PX = 2
# Every direction of a patch of 2 x 2 pixels in 3 colours, and its negative.
STEM_WIDTH = 2 * 3 * PATCH_PX**2
# Keeps directions without any variance from being blown up into noise.
WHITENING_FLOOR = 5e-4


class Layer(nn.Module):
    """Convolution, batch norm and activation, added to their input.

    Args:
        width: channels in and out.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Same shape out as in."""
        return x_BCHW + F.silu(self.norm(self.conv(x_BCHW)))


class Block(nn.Module):
    """Convolution, halving, batch norm and activation; then layers at that size.

    Args:
        fan_in: channels that come in.
        fan_out: channels that go out.
        depth: convolutions in all.
    """

    def __init__(self, fan_in: int, fan_out: int, *, depth: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(fan_out)
        self.layers = nn.Sequential(*(Layer(fan_out) for _ in range(depth - 1)))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Half the height and width, as long as there is more than one pixel to halve."""
        x_BCHW = self.conv(x_BCHW)
        if min(x_BCHW.shape[2:]) > 1:
            x_BCHW = F.max_pool2d(x_BCHW, 2)
        halved_BCHW: Tensor = self.layers(F.silu(self.norm(x_BCHW)))
        return halved_BCHW


class CNN(nn.Module):
    """A whitening layer, three blocks that halve the image, and a linear layer on the largest activations.

    Args:
        num_classes: K, outputs of the last layer.
        widths: channels of each block.
        depth: convolutions of each block.
    Shapes:
        images_BCHW float (batch, 3, H, W), H and W at least 2, to logits_BK float (batch, K).
    Source: Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", for the stem, the order of convolution and
        pooling, and the scaled logits.
    """

    def __init__(self, num_classes: int, *, widths: tuple[int, ...] = (32, 64, 128), depth: int = 2) -> None:
        super().__init__()
        # Without a bias there is nothing to learn here, so that the backward pass ends before this largest layer.
        self.stem = nn.Conv2d(3, STEM_WIDTH, PATCH_PX, bias=False)
        self.stem.weight.requires_grad_(False)
        fans = (STEM_WIDTH, *widths)
        self.blocks = nn.Sequential(*(Block(fans[index], width, depth=depth) for index, width in enumerate(widths)))
        self.head = nn.Linear(widths[-1], num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits, one row an image."""
        return self.classify(self.blocks(F.silu(self.stem(images_BCHW))).amax(dim=(2, 3)))

    def classify(self, features_BC: Tensor) -> Tensor:
        """Logits from what reaches the head."""
        # Small logits at the start keep the first steps calm at a high learning rate.
        logits_BK: Tensor = self.head(features_BC) / 9
        return logits_BK

    @torch.no_grad()
    def whiten(self, batches: Iterable[Tensor]) -> None:
        """Set the first layer to the whitening filters of training images; without any it stays as it is.

        Args:
            batches: normalised float, each of shape (B, 3, H, W); a few thousand images are enough.
        Source: Jordan 2024, section 3.1; the eigenvectors of the patches' covariance over the root of their values.
        """
        size = 3 * PATCH_PX**2
        total, count = torch.zeros(size, size, dtype=torch.float64), 0
        for images_BCHW in batches:
            patches = F.unfold(images_BCHW.float().cpu(), PATCH_PX, stride=PATCH_PX).transpose(1, 2).flatten(0, 1)
            patches = patches.double()
            total += patches.T @ patches
            count += len(patches)
        if not count:
            return
        values, vectors = torch.linalg.eigh(total / count)
        filters = (vectors / (values + WHITENING_FLOOR).sqrt()).T.flip(0).reshape(-1, 3, PATCH_PX, PATCH_PX)
        self.stem.weight.copy_(torch.cat([filters, -filters]).to(self.stem.weight))
