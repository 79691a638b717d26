"""Running a network on images that may show any number of classes.

Shapes: N images, B batch, K classes of the model, D classes of the data, C channels, H height, W width.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError
from imgcls.evaluation.class_matching import ClassMap
from imgcls.evaluation.figures.ranking import rank_class
from imgcls.evaluation.figures.scores import Booleans, Floats32, Integers
from imgcls.evaluation.metrics import Arithmetic
from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation, averaged_logits
from imgcls.models.answers.multi_label import MultiLabel


@dataclass(frozen=True)
class MultiLabelResult:
    """What a network said of labelled images, for the classes that the data has.

    Attributes:
        labels: the classes of the data, as the model calls them, in the order of its outputs.
        class_ids: their indices among the model's outputs.
        indices_N: which image of the set each is.
        truth_ND: whether an image shows a class.
        probabilities_ND: of each class.
        losses_ND: binary cross-entropy of each class, in nats.
    """

    labels: tuple[str, ...]
    class_ids: tuple[int, ...]
    indices_N: Integers = field(repr=False)
    truth_ND: Booleans = field(repr=False)
    probabilities_ND: Floats32 = field(repr=False)
    losses_ND: Floats32 = field(repr=False)

    @property
    def count(self) -> int:
        """Images measured."""
        return len(self.truth_ND)

    @cached_property
    def loss(self) -> float:
        """Mean over the images of the summed binary cross-entropy of all classes: what training makes small."""
        return float(self.losses_ND.sum(1, dtype=np.float64).mean())

    @cached_property
    def average_precisions(self) -> tuple[float | None, ...]:
        """Of each class, without interpolation; None where no image shows it."""
        return tuple(
            rank_class(values_N, own_N).average_precision
            for values_N, own_N in zip(self.probabilities_ND.T, self.truth_ND.T, strict=True)
        )

    @cached_property
    def mean_ap(self) -> float | None:
        """mAP: the mean of the average precisions of all classes that some image shows; None where none does."""
        known = [value for value in self.average_precisions if value is not None]
        return sum(known) / len(known) if known else None


def evaluate_labels(
    network: nn.Module,
    images: LabelledImages,
    *,
    transform: Arithmetic,
    device: torch.device,
    batch_size: int,
    class_map: ClassMap | None = None,
    tta: TestTimeAugmentation | None = None,
    gives_log_probabilities: bool = False,
    progress: Callable[[int, int], None] | None = None,
    processes: Processes | None = None,
) -> MultiLabelResult:
    """Run every image through a network.

    Args:
        network: on `device`; in eval mode while measured, then as it was.
        images: multi-label ones.
        transform: its arithmetic; the geometry was applied when the images were decoded.
        device: where the network is.
        batch_size: images per forward pass.
        class_map: from the data's classes to the network's outputs; None where they are the same.
        tta: average the probabilities over several views of each image; None for one plain forward pass.
        gives_log_probabilities: whether the network answers so, as an ONNX file of another tool; else with logits.
        progress: called with images done and in all.
        processes: that each measure a part of the images; every process calls this and gets the whole result.
    Raises:
        DataError: no image could be read.
    """
    processes = processes or Processes()
    first, end = (len(images) * rank // processes.count for rank in (processes.rank, processes.rank + 1))
    answering = _Probabilities(network, gives_log_probabilities=gives_log_probabilities)
    to_model = class_map.to_model if class_map else tuple(range(len(images.classes)))
    # In the order of the outputs, so that reports of several data sets are alike.
    places = sorted(range(len(to_model)), key=lambda place: to_model[place])
    class_ids = tuple(to_model[place] for place in places)
    was_training = network.training
    network.eval()
    parts: list[tuple[Tensor, ...]] = []
    done = 0
    try:
        with torch.inference_mode():
            rows_N = torch.arange(first, end)
            for images_BCHW, truth_BD, indices_B in images.batches(rows_N, batch_size=batch_size, device=device):
                if not len(truth_BD):
                    continue
                logits_BK = answering.logits(transform.normalise(images_BCHW), tta)
                logits_BD = logits_BK[:, list(class_ids)]
                truth_BD = truth_BD[:, places].float()
                losses_BD = binary_cross_entropy_with_logits(logits_BD, truth_BD, reduction="none")
                parts.append((indices_B, truth_BD.bool().cpu(), logits_BD.sigmoid().cpu(), losses_BD.cpu()))
                done += len(indices_B)
                if progress is not None:
                    progress(min(done * processes.count, len(images)), len(images))
    finally:
        network.train(was_training)
    columns = processes.gather_rows([torch.cat(column) for column in zip(*parts, strict=True)] if parts else None)
    if columns is None:
        raise DataError(f"none of the images of {images.description.name} can be read", hint="check the files")
    names = class_map.classes if class_map else images.classes
    indices_N, truth_ND, probabilities_ND, losses_ND = (column.numpy() for column in columns)
    return MultiLabelResult(
        tuple(names[index] for index in class_ids), class_ids, indices_N, truth_ND, probabilities_ND, losses_ND
    )


class _Probabilities(nn.Module):
    """A network whose answers are probabilities, so that views are averaged as predict averages them."""

    def __init__(self, network: nn.Module, *, gives_log_probabilities: bool) -> None:
        super().__init__()
        self.network = network
        self._are_logarithms = gives_log_probabilities

    def forward(self, input_BCHW: Tensor) -> Tensor:
        answers_BK: Tensor = self.network(input_BCHW).float()
        return answers_BK.exp() if self._are_logarithms else answers_BK.sigmoid()

    def logits(self, input_BCHW: Tensor, tta: TestTimeAugmentation | None) -> Tensor:
        """Float32, shape (batch, K), for the sigmoid."""
        if tta is None and not self._are_logarithms:
            # Probabilities near 1 have lost digits that the loss needs.
            logits_BK: Tensor = self.network(input_BCHW).float()
            return logits_BK
        return averaged_logits(self, input_BCHW, tta).double().logit(eps=1e-12).float()


def best_thresholds(result: MultiLabelResult) -> MultiLabel:
    """For each class the threshold with the highest F1 on these images: halfway to the next lower probability.

    The images must be all of the model's classes, in its order. A class that no image shows gets the usual threshold.

    Source: Lipton, Elkan and Naryanaswamy 2014, "Optimal Thresholding of Classifiers to Maximize F1 Measure".
    """
    usual = MultiLabel.usual(1).thresholds[0]
    return MultiLabel(
        tuple(
            best_threshold(values_N, own_N) if own_N.any() else usual
            for values_N, own_N in zip(result.probabilities_ND.T, result.truth_ND.T, strict=True)
        )
    )


def best_threshold(values_N: Floats32, own_N: Booleans) -> float:
    """The threshold with the highest F1; of equal ones the highest.

    Args:
        values_N: probability of the class.
        own_N: whether each image shows it; at least one does.
    """
    order = np.argsort(-values_N, kind="stable")
    values, right = values_N[order], np.cumsum(own_N[order])
    f1 = 2 * right / (np.arange(1, len(values) + 1) + right[-1])
    # Equal probabilities can't be told apart.
    f1[:-1][values[1:] == values[:-1]] = -1
    place = int(np.argmax(f1))
    lowest = float(values[place])
    below = float(values[place + 1]) if place + 1 < len(values) else 0.0
    middle = round((lowest + below) / 2, 6)
    return middle if below < middle <= lowest else lowest
