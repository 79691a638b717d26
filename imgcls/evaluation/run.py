"""Measuring a model on a labelled data set, from their names to the report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import torch

from imgcls.datasets.labelled_images import LabelledImages, is_multi_label
from imgcls.datasets.opening import Opening
from imgcls.distributed.process_group import Processes
from imgcls.errors import DataError, UsageError
from imgcls.evaluation.class_matching import match_classes
from imgcls.evaluation.data import open_data_for
from imgcls.evaluation.measured_report import measured_with
from imgcls.evaluation.metrics import evaluate_network
from imgcls.evaluation.multi_label.report import MultiLabelReport
from imgcls.evaluation.multi_label.run import evaluate_multi_label
from imgcls.evaluation.placement import UpcomingImages, placed, taking_truncated, with_twin
from imgcls.evaluation.report import EvalReport
from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation
from imgcls.host.devices import choose_device
from imgcls.images.transform import Transform
from imgcls.models.answers.calibrated_network import answering
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.loading import load_model
from imgcls.models.onnx.answers import Activation
from imgcls.models.onnx.input_options import InputOptions
from imgcls.twins.runtime import Runtime, TwinRequest

Split = Literal["train", "val", "test"]

# Memory for activations grows with the area: these keep a ResNet-50 under 1 GiB and small networks busy.
SMALL_PX = 64
SMALL_BATCH = 500
LARGE_BATCH = 64


def evaluate(
    model: str | Path,
    data: str | Path | None = None,
    *,
    split: Split | None = None,
    weights: str | Path | None = None,
    labels: Sequence[str] | None = None,
    transform: Transform | InputOptions | None = None,
    activation: Activation | None = None,
    output_name: str | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    workers: int | None = None,
    tta: TestTimeAugmentation | str | None = None,
    strict: bool = False,
    accepts_truncated: bool | None = None,
    allow_modified_data: bool = False,
    progress: Callable[[int, int], None] | None = None,
    runtime: Runtime = "auto",
    allow_code: bool = False,
) -> EvalReport | MultiLabelReport:
    """Measure a model on labelled images: all figures with their intervals, each class, and the confusion matrix.

    Where images have several labels: mean average precision, and each class at its threshold.

    Args:
        model: a checkpoint, a run folder, an `.onnx` or `.pt2` file, a bundled name or the name of a network.
        data: `cifar10`, a folder of class folders, a table or archives; None takes what the model was trained on.
        split: None chooses test, else val, else all of a folder without splits.
        weights: a state_dict for a named network.
        labels: class names in the order of the outputs of `weights`, or of an ONNX file of another tool.
        transform: the preprocessing of such a file.
        activation: `softmax`, `sigmoid` or `none`, where its graph doesn't show it.
        output_name: which of its outputs to read.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps` or `xpu`.
        batch_size: images per forward pass; None chooses by their size.
        workers: threads or processes that decode; None for one per core.
        tta: `flip` or `flip+shift`: average the logits over several views of each image.
        strict: a damaged image is an error; else it is skipped and listed in the report.
        accepts_truncated: whether JPEGs that lack their last bytes are measured too; None as the model was trained.
        allow_modified_data: accept CIFAR-10 files with other checksums than the published ones.
        progress: called with images done and in all.
        runtime: `torch`; `onnx` for the model's ONNX twin; `auto` for the twin on a CPU where the cache has one or the
            images are many.
        allow_code: whether a file may be loaded whose loading runs code that is in it (`.pt2`).
    Raises:
        UsageError: an argument means nothing, or neither `data` nor the model names a data set.
        ModelError: no such model, or its weights are missing or damaged.
        DataError: the data set can't be used or doesn't fit the model.
        DeviceError: the device isn't there.
    """
    if split not in (None, *get_args(Split)):
        raise UsageError(f"unknown split {split!r}", hint="use train, val or test")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size must be at least 1, not {batch_size}", hint="leave it out to choose by size")
    views = None if tta is None else _views_named(str(tta))
    choice = choose_device(device)
    loaded = load_model(
        str(model),
        weights=Path(weights) if weights else None,
        labels=labels,
        transform=transform,
        activation=activation,
        output_name=output_name,
        allow_code=allow_code,
    )
    loaded = taking_truncated(loaded, accepts_truncated)
    loaded, place = placed(loaded, device, choice.device)
    opening = Opening(transform=loaded.transform, strict=strict, workers=workers)
    found = open_data_for(
        loaded,
        str(data) if data is not None else None,
        split=split,
        opening=opening,
        allow_modified=allow_modified_data,
    )
    request = TwinRequest(
        spec=str(model),
        weights=Path(weights) if weights else None,
        runtime=runtime,
        device=str(place),
        upcoming=UpcomingImages(found.images),
    )
    return measure_model(
        with_twin(loaded, request),
        found.images,
        device=place,
        batch_size=batch_size,
        tta=views,
        progress=progress,
        warnings=found.warnings,
    )


def measure_model(
    model: LoadedModel,
    images: LabelledImages,
    *,
    device: torch.device,
    batch_size: int | None = None,
    tta: TestTimeAugmentation | None = None,
    progress: Callable[[int, int], None] | None = None,
    processes: Processes | None = None,
    warnings: tuple[str, ...] = (),
) -> EvalReport | MultiLabelReport:
    """Measure a model on labelled images, with one label or several; see `evaluate_model`."""
    measure: Callable[..., EvalReport | MultiLabelReport] = (
        evaluate_multi_label if is_multi_label(images) else evaluate_model
    )
    return measure(
        model,
        images,
        device=device,
        batch_size=batch_size or _usual_batch(model),
        tta=tta,
        progress=progress,
        processes=processes,
        warnings=warnings,
    )


def _usual_batch(model: LoadedModel) -> int:
    return SMALL_BATCH if max(model.transform.size_px) <= SMALL_PX else LARGE_BATCH


def evaluate_model(
    model: LoadedModel,
    images: LabelledImages,
    *,
    device: torch.device,
    batch_size: int | None = None,
    tta: TestTimeAugmentation | None = None,
    progress: Callable[[int, int], None] | None = None,
    processes: Processes | None = None,
    warnings: tuple[str, ...] = (),
) -> EvalReport:
    """Measure a model on labelled images, whose classes are matched to those of the model by name or WordNet ID.

    Args:
        model: any that `load_model` gives; its network is moved to the device.
        images: opened with the model's own transform.
        device: where to run; see `placed` for an exported file.
        batch_size: images per forward pass; None chooses by their size.
        tta: average over several views of each image; None for one plain forward pass.
        progress: called with images done and in all.
        processes: that each measure a part of the images; every process calls this and gets the whole report.
        warnings: about the data, for the report.
    Raises:
        DataError: a class that the model doesn't know, several labels per image, or no image that can be read.
    """
    if is_multi_label(images):
        raise DataError(
            f"{images.description.name} has several labels per image", hint=f"imgcls eval measures {model.name} on it"
        )
    class_map = match_classes(images.classes, model.classes, wordnet_ids=model.wordnet_ids)
    result = evaluate_network(
        answering(model).to(device),
        images,
        transform=model.transform,
        device=device,
        batch_size=batch_size or _usual_batch(model),
        class_map=class_map,
        tta=tta,
        progress=progress,
        processes=processes,
        keeps_scores=True,
    )
    return EvalReport(
        result=result,
        missing=class_map.missing,
        tta=tta,
        warnings=warnings,
        **measured_with(model, images, device=device, processes=processes),
    )


def _views_named(name: str) -> TestTimeAugmentation:
    try:
        return TestTimeAugmentation(name)
    except ValueError as exc:
        known = " or ".join(repr(each.value) for each in TestTimeAugmentation)
        raise UsageError(f"unknown tta {name!r}", hint=f"use {known}") from exc
