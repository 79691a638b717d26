"""The loss: cross-entropy with class weights, and a monitor that doesn't ask the device at every step.

Shapes: N training images, B batch, K classes.
"""

import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

from imgcls.datasets.labelled_images import class_counts
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError

# Losses wait on the device until there are this many of them, or this long: asking for each would stop a GPU each time.
BUFFERED_STEPS = 64
BUFFERED_SEC = 0.5
# From here on the small classes are easily lost: a network that never names a class of 1 in 11 images is 91 % right.
UNEVEN = 10
# A class that one image in ten thousand shows would otherwise drown all others whenever it comes up.
MOST_POSITIVE = 100.0

Loss = Callable[[Tensor, Tensor], Tensor]


def build_loss(label_smoothing: float, weights_K: Tensor | None) -> Loss:
    """Mean cross-entropy over the images of a batch, or of its portion."""
    if weights_K is None:
        return lambda logits_BK, target: F.cross_entropy(logits_BK, target, label_smoothing=label_smoothing)

    def weighted(logits_BK: Tensor, target: Tensor) -> Tensor:
        # Over the number of images, not the sum of their weights, as `reduction="mean"` would for class indices: that
        # sum differs from batch to batch, so that a rare class would count least where it is alone with its like.
        total = F.cross_entropy(logits_BK, target, weight=weights_K, label_smoothing=label_smoothing, reduction="sum")
        return total / len(target)

    return weighted


def build_multi_label_loss(label_smoothing: float, weights_K: Tensor | None) -> Loss:
    """Binary cross-entropy, summed over the classes of an image, and its mean over the images of a batch.

    It is the negative logarithm of the probability of all of an image's labels, as cross-entropy is of its only one, so
    that learning rates have about the same meaning.

    Args:
        label_smoothing: 0 and 1 become half of it, and 1 less half of it.
        weights_K: what the images that show a class weigh in it, against those that don't; None for the same.
    """

    def loss(logits_BK: Tensor, target_BK: Tensor) -> Tensor:
        target_BK = target_BK.float() * (1 - label_smoothing) + label_smoothing / 2
        total = F.binary_cross_entropy_with_logits(logits_BK, target_BK, pos_weight=weights_K, reduction="sum")
        return total / len(target_BK)

    return loss


def positive_weights(labels_NK: Tensor) -> Tensor:
    """Weights with which the images that show a class count as much as those that don't: (N - n) / n.

    Args:
        labels_NK: of multi-label training images.
    Returns:
        float32, shape (K,); at most `MOST_POSITIVE`, and 1 for a class that no image shows.
    """
    counts_K = class_counts(labels_NK, labels_NK.shape[1]).double()
    weights_K = (len(labels_NK) - counts_K) / counts_K.clamp(min=1)
    return torch.where(counts_K > 0, weights_K.clamp(1 / MOST_POSITIVE, MOST_POSITIVE), 1.0).float()


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
    """What to tell about classes of very different sizes; None where they are even enough.

    Of several labels per image some are always rare.
    """
    if labels_N.ndim == 2:
        return None
    counts = torch.bincount(labels_N, minlength=len(classes)).tolist()
    small, large = (min(range(len(classes)), key=counts.__getitem__), max(range(len(classes)), key=counts.__getitem__))
    if counts[large] < UNEVEN * max(counts[small], 1):
        return None
    return (
        f"uneven classes: {counts[large]:,} training images of {classes[large]!r}, {counts[small]:,} of "
        f"{classes[small]!r}; --set optim.class_weights=balanced lets every class count the same"
    )


class DivergedError(DataError):
    """The loss is no longer a number, so that going on would only destroy the weights.

    Args:
        message, hint: as in every error.
        step: counted from 1 over the whole run.
    """

    def __init__(self, message: str, *, hint: str, step: int) -> None:
        super().__init__(message, hint=hint)
        self.step = step


class LossMonitor:
    """Collects an epoch's losses and notices when one is NaN or infinite.

    Args:
        device: where the losses are.
        peak_lr: of the recipe, for the advice.
        total, count: sum and number of this process's images, of an epoch that was begun before.
        processes: that share the images.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        peak_lr: float,
        total: float = 0.0,
        count: int = 0,
        processes: Processes | None = None,
    ) -> None:
        self.peak_lr = peak_lr
        self.total, self.count = total, count
        self._processes = processes or Processes()
        self._all_total, self._all_count = total, count
        # Several processes agree on when to fetch them, which takes them a step more.
        self._losses = torch.zeros(BUFFERED_STEPS + 1, device=device)
        self._sizes: list[int] = []
        self._checked_at = time.perf_counter()

    def add(self, loss: Tensor, *, num_images: int) -> bool:
        """Take a step's mean loss.

        Returns:
            Whether it is time to `check`.
        """
        self._losses[len(self._sizes)] = loss
        self._sizes.append(num_images)
        return len(self._sizes) >= BUFFERED_STEPS or time.perf_counter() - self._checked_at > BUFFERED_SEC

    def check(self, *, step: int) -> None:
        """Fetch the losses that wait, and add them up; every process does so after the same step.

        Args:
            step: done so far in the run, with the ones that wait.
        Raises:
            DivergedError: one of them isn't finite, in any process; names the first such step.
        """
        bad: tuple[int, float] | None = None
        losses = self._losses[: len(self._sizes)].tolist()
        for behind, (loss, num_images) in enumerate(zip(losses, self._sizes, strict=True), start=1 - len(losses)):
            if not math.isfinite(loss):
                bad = (step + behind, loss)
                break
            self.total += loss * num_images
            self.count += num_images
        self._sizes.clear()
        self._checked_at = time.perf_counter()
        everybody = self._processes.gather((self.total, self.count, bad))
        self._all_total, self._all_count = sum(total for total, _, _ in everybody), sum(num for _, num, _ in everybody)
        if first := min((found for *_, found in everybody if found is not None), default=None):
            raise diverged(f"the loss became {first[1]} at step {first[0]}", self.peak_lr, step=first[0])

    @property
    def mean(self) -> float:
        """Mean loss over the epoch's images that were checked; 0 before the first."""
        return self._all_total / self._all_count if self._all_count else 0.0


def diverged(what: str, peak_lr: float, *, step: int) -> DivergedError:
    """The error that stops a run, with the setting to lower."""
    return DivergedError(
        what,
        hint=f"lower the learning rate optim.lr = {peak_lr:g}, for example --lr {peak_lr / 4:.1g}",
        step=step,
    )
