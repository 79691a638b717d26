"""Measuring a loaded model on images with several labels."""

from collections.abc import Callable

import torch

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError
from imgcls.evaluation.class_matching import match_classes
from imgcls.evaluation.measured_report import measured_with
from imgcls.evaluation.multi_label.measuring import evaluate_labels
from imgcls.evaluation.multi_label.report import MultiLabelReport
from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation
from imgcls.models.answers.multi_label import MultiLabel
from imgcls.models.exported import ExportedNetwork
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.onnx.network import OnnxNetwork


def evaluate_multi_label(
    model: LoadedModel,
    images: LabelledImages,
    *,
    device: torch.device,
    batch_size: int,
    tta: TestTimeAugmentation | None = None,
    progress: Callable[[int, int], None] | None = None,
    processes: Processes | None = None,
    warnings: tuple[str, ...] = (),
) -> MultiLabelReport:
    """Measure a model on multi-label images; see `evaluation.run.measure_model` for the arguments.

    Raises:
        DataError: the model answers one label per image, doesn't know a class, or no image can be read.
    """
    file = model.network if isinstance(model.network, ExportedNetwork) else None
    is_foreign = model.multi_label is None and isinstance(file, OnnxNetwork) and file.file.is_multi_label
    if model.multi_label is None and not is_foreign:
        raise DataError(
            f"{model.name} answers one label per image, and {images.description.name} has several",
            hint="measure a model that was trained on several, or name data with one label per image",
        )
    class_map = match_classes(images.classes, model.classes, wordnet_ids=model.wordnet_ids)
    result = evaluate_labels(
        model.network.to(device),
        images,
        transform=model.transform,
        device=device,
        batch_size=batch_size,
        class_map=class_map,
        tta=tta,
        gives_log_probabilities=is_foreign,
        progress=progress,
        processes=processes,
    )
    return MultiLabelReport(
        result=result,
        thresholds=model.multi_label or MultiLabel.usual(len(model.classes)),
        missing=class_map.missing,
        tta=tta,
        warnings=warnings,
        **measured_with(model, images, device=device, processes=processes),
    )
