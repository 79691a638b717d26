"""Measuring a network: correct images are counted, and the counts divided once at the end.

Shapes: N images, B batch, K classes of the model, C channels, H height, W width.
"""

from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError
from imgcls.evaluation.class_matching import ClassMap
from imgcls.evaluation.figures.scores import ImageScores
from imgcls.evaluation.guesses import rank_guesses, top_answers
from imgcls.evaluation.result import EvalResult
from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation, averaged_logits
from imgcls.host.resources import available_bytes

# Of the free memory that the probabilities of all classes may take; what needs them is left out beyond.
PROBABILITIES_SHARE = 0.25

Kept = Literal["none", "top", "all"]


class Arithmetic(Protocol):
    """What turns a batch into the input of a network; usually a `Transform`."""

    def normalise(self, images_BCHW: Tensor, /) -> Tensor:
        """See `Transform.normalise`."""


def evaluate_network(
    network: nn.Module,
    images: LabelledImages,
    *,
    transform: Arithmetic,
    device: torch.device,
    batch_size: int,
    autocast_dtype: torch.dtype | None = None,
    class_map: ClassMap | None = None,
    tta: TestTimeAugmentation | None = None,
    progress: Callable[[int, int], None] | None = None,
    processes: Processes | None = None,
    keeps_scores: bool = False,
) -> EvalResult:
    """Run every image through a network and count.

    Args:
        network: on `device`; in eval mode while measured, then as it was.
        images: the images and their labels.
        transform: its arithmetic; the geometry was applied when the images were decoded.
        device: where the network is.
        batch_size: images per forward pass; changes the speed, and the last digits of the loss.
        autocast_dtype: reduced precision for the forward pass, such as torch.bfloat16.
        class_map: from the data's classes to the network's outputs; None where they are the same.
        tta: average the logits over several views of each image; None for one plain forward pass.
        progress: called with images done and in all.
        processes: that each measure a part of the images; every process calls this and gets the whole result.
        keeps_scores: whether the result has the scores of each image.
    Raises:
        DataError: no image could be read.
    """
    processes = processes or Processes()
    # Neither padded nor cut: each image is measured by one process.
    first, end = (len(images) * rank // processes.count for rank in (processes.rank, processes.rank + 1))
    rows_N = torch.arange(first, end)
    if progress is not None and processes.count > 1:
        progress = _of_all(progress, len(images), processes.count)
    labels = class_map.classes if class_map else images.classes
    num_classes = len(labels)
    # A float32 for each class of each image.
    fits = len(images) * num_classes * 4 * processes.count <= available_bytes() * PROBABILITIES_SHARE
    kept: Kept = "none"
    if keeps_scores:
        kept = "all" if all(processes.gather(fits)) else "top"
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            own = _run(
                network, images, rows_N, transform, device, batch_size, autocast_dtype, class_map, tta, progress, kept
            )
    finally:
        network.train(was_training)
    parts = processes.gather_rows(own)
    if parts is None:
        raise DataError(f"none of the images of {images.description.name} can be read", hint="check the files")
    labels_N, guesses_N, in_top5_N, losses_N = parts[:4]
    confusion = torch.bincount(labels_N * num_classes + guesses_N, minlength=num_classes**2)
    return EvalResult(
        labels=labels,
        confusion_KK=confusion.view(num_classes, num_classes),
        top5_correct=int(in_top5_N.sum()),
        # Float32 sums of many thousand losses lose digits; MPS has no float64, so the sum is made on the CPU.
        loss=float(losses_N.double().mean()),
        scores=_scores(parts) if keeps_scores else None,
    )


def _scores(columns: list[Tensor]) -> ImageScores:
    labels_N, guesses_N, _in_top5_N, losses_N, indices_N, brier_N, top_ids_NT, top_NT, *everything = columns
    return ImageScores(
        indices_N=indices_N.numpy(),
        labels_N=labels_N.numpy(),
        guesses_N=guesses_N.numpy(),
        losses_N=losses_N.double().numpy(),
        brier_N=brier_N.double().numpy(),
        top_ids_NT=top_ids_NT.numpy(),
        top_probabilities_NT=top_NT.double().numpy(),
        log_probabilities_NK=everything[0].numpy() if everything else None,
    )


def _of_all(progress: Callable[[int, int], None], total: int, count: int) -> Callable[[int, int], None]:
    # A process knows its own part only; the others are about as far.
    return lambda done, _own: progress(min(done * count, total), total)


def _run(
    network: nn.Module,
    images: LabelledImages,
    rows_N: Tensor,
    transform: Arithmetic,
    device: torch.device,
    batch_size: int,
    autocast_dtype: torch.dtype | None,
    class_map: ClassMap | None,
    tta: TestTimeAugmentation | None,
    progress: Callable[[int, int], None] | None,
    kept: Kept,
) -> list[Tensor] | None:
    """Labels, first guesses, whether in the top 5, and losses of these images, on the CPU.

    With what is kept of the scores behind them: indices, Brier scores, most probable classes, log-probabilities.
    """
    to_model_K = torch.tensor(class_map.to_model, device=device) if class_map else None
    done, total = 0, len(rows_N)
    parts: list[tuple[Tensor, ...]] = []
    for images_BCHW, raw_labels_B, indices_B in images.batches(rows_N, batch_size=batch_size, device=device):
        if not len(raw_labels_B):
            continue
        labels_B = raw_labels_B if to_model_K is None else to_model_K[raw_labels_B]
        with torch.autocast(device.type, dtype=autocast_dtype, enabled=autocast_dtype is not None):
            logits_BK = averaged_logits(network, transform.normalise(images_BCHW), tta)
        logits_BK = logits_BK.float()
        log_probabilities_BK = logits_BK.log_softmax(1)
        losses_B = -log_probabilities_BK.gather(1, labels_B[:, None])[:, 0]
        # The results stay on the device until the end: copying them after each batch would make it wait.
        columns: tuple[Tensor, ...] = (labels_B, *rank_guesses(logits_BK, labels_B), losses_B)
        if kept != "none":
            columns += (indices_B, *top_answers(logits_BK, log_probabilities_BK, labels_B))
        # All probabilities are too many to stay there.
        parts.append(columns + ((log_probabilities_BK.cpu(),) if kept == "all" else ()))
        done += len(labels_B)
        if progress is not None:
            progress(done, total)
    return [torch.cat(column).cpu() for column in zip(*parts, strict=True)] if parts else None
