"""Uneven classes: what they weigh in the loss, and when to say something about it.

Shapes: N training images, K classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

# From here on the small classes are easily lost: a network that never names a class of 1 in 11 images is 91 % right.
UNEVEN = 10


def balanced_weights(labels_N: Tensor, num_classes: int) -> Tensor:
    """Weights with which every class counts the same: N / (K n) for a class of n images.

    Args:
        labels_N: class indices of the training images, int64.
        num_classes: K.
    Returns:
        float32, shape (num_classes,); 1 on average over the images, 0 for a class without any, which K leaves out.
    Source: King and Zeng 2001, "Logistic regression in rare events data"; scikit-learn's class_weight="balanced".
    """
    counts_K = torch.bincount(labels_N, minlength=num_classes).double()
    present_K = counts_K > 0
    weights_K = len(labels_N) / (present_K.sum() * counts_K.clamp(min=1))
    return torch.where(present_K, weights_K, 0.0).float()


def uneven_warning(labels_N: Tensor, classes: Sequence[str]) -> str | None:
    """What to tell about classes of very different sizes; None where they are even enough."""
    counts = torch.bincount(labels_N, minlength=len(classes)).tolist()
    small, large = (min(range(len(classes)), key=counts.__getitem__), max(range(len(classes)), key=counts.__getitem__))
    if counts[large] < UNEVEN * max(counts[small], 1):
        return None
    return (
        f"uneven classes: {counts[large]:,} training images of {classes[large]!r}, {counts[small]:,} of "
        f"{classes[small]!r}; --set optim.class_weights=balanced lets every class count the same"
    )
