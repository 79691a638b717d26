"""mixup and CutMix: images of a batch blended or pasted together, with their labels in proportion.

Shapes: B batch, C channels (3), H height, W width, K classes.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

# Float images and class indices of a batch to images and probabilities, (batch, num_classes).
Mixture = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def mixture(*, mixup: float, cutmix: float, num_classes: int) -> Mixture:
    """Each image blended with its neighbour in the batch (mixup) or with a rectangle of it (CutMix), its label too.

    Args:
        mixup: alpha of the Beta distribution of the share; 0 for never.
        cutmix: the same of the rectangle's share; where both are there, each batch takes one or the other.
        num_classes: K.
    Source: torchvision.transforms.v2.MixUp and CutMix; Zhang et al. 2017, Yun et al. 2019.
    """
    from torchvision.transforms import v2

    kinds: list[Any] = []
    if mixup:
        kinds.append(v2.MixUp(alpha=mixup, num_classes=num_classes))
    if cutmix:
        kinds.append(v2.CutMix(alpha=cutmix, num_classes=num_classes))
    mix: Mixture = kinds[0] if len(kinds) == 1 else v2.RandomChoice(kinds)
    return mix
