"""`calibrate`: from a model and labelled images to its calibrated copy."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.opening import Opening
from imgcls.errors import DataError, ModelError, UsageError
from imgcls.evaluation.calibration.fitting import CalibrationReport, calibrate_logits, collect_logits
from imgcls.evaluation.class_matching import match_classes
from imgcls.evaluation.data import open_data_for
from imgcls.evaluation.placement import placed
from imgcls.host.devices import choose_device
from imgcls.host.files import replacing
from imgcls.models.answers.calibration import Calibration, Method
from imgcls.models.checkpoint import load_checkpoint, save_checkpoint
from imgcls.models.exported import ExportedNetwork
from imgcls.models.loaded_model import LoadedModel, save_loaded
from imgcls.models.onnx.file_bytes import laid_out
from imgcls.models.onnx.model import CARD_KEY, SUFFIX
from imgcls.models.onnx.network import OnnxNetwork


@dataclass(frozen=True, kw_only=True)
class CalibrateSettings:
    """How a model is calibrated; see the command's options."""

    method: Method = "temperature"
    coverage: float | None = None
    penalty: float | None = None
    split: str | None = None
    seed: int = 0
    device: str = "auto"
    workers: int | None = None
    batch_size: int = 64
    allow_modified_data: bool = False


def calibrate_model(
    model: LoadedModel, data: str | None, settings: CalibrateSettings | None = None
) -> CalibrationReport:
    """Fit a calibration to a model's own answers; what it had before doesn't count.

    Args:
        model: any that `load_model` gives.
        data: labelled images that it wasn't trained on; None takes what its training kept to validate.
        settings: how.
    Raises:
        DataError: the model was trained on some of these images, they are too few, or don't fit the model.
        UsageError: neither `data` nor the model names a data set.
    """
    settings = settings or CalibrateSettings()
    if model.multi_label is not None:
        raise DataError(
            f"{model.name} answers several labels per image, and calibration is for one",
            hint=f"imgcls train chose its thresholds on validation images; imgcls eval {model.name} tells them",
        )
    choice = choose_device(settings.device)
    plain, place = placed(replace(model, calibration=None), settings.device, choice.device)
    found = open_data_for(
        plain,
        data,
        split=settings.split or ("val" if data is None else None),
        opening=Opening(transform=model.transform, workers=settings.workers),
        allow_modified=settings.allow_modified_data,
    )
    images, warnings = found.images, list(found.warnings)
    seen = SeenImages.from_dict(model.images)
    if seen is None:
        warnings.append(f"{model.name} doesn't say what it was trained on: make sure that these images are others")
    elif count := seen.count_trained(images.fingerprints()):
        which = "all" if count == len(images) else f"{count:,} of the {len(images):,}"
        raise DataError(
            f"{model.name} was trained on {which} images of {images.description.name} ({images.description.split}): on "
            "them it is surer than on others",
            hint="--data DIR names images that it wasn't trained on",
        )
    class_map = match_classes(images.classes, model.classes, wordnet_ids=model.wordnet_ids)
    network = plain.network.to(place).eval()
    logits_NK, labels_N = collect_logits(
        lambda images_BCHW: network(model.transform.normalise(images_BCHW)),
        images.batches(torch.arange(len(images)), batch_size=settings.batch_size, device=place),
        torch.tensor(class_map.to_model),
    )
    report = calibrate_logits(
        logits_NK,
        labels_N,
        method=settings.method,
        coverage=settings.coverage,
        penalty=settings.penalty,
        seed=settings.seed,
    )
    return replace(
        report, model=plain.describe(), data=images.description.to_dict(), warnings=(*warnings, *report.warnings)
    )


def copy_path(spec: str, model: LoadedModel) -> Path:
    """Where the calibrated copy goes if nobody says it: beside the model, in a run's folder `calibrated.pt`.

    Raises:
        UsageError: the model is one of a catalogue's, whose folder is no place for it.
    """
    path = Path(spec)
    if path.is_dir():
        return path / "calibrated.pt"
    if path.is_file():
        return path.with_name(f"{path.stem}-calibrated{path.suffix}")
    raise UsageError(f"where should the calibrated {model.name} go?", hint=f"-o {model.name}-calibrated.pt")


def save_calibrated(model: LoadedModel, calibration: Calibration, path: Path) -> None:
    """Write a copy of a model with its calibration: a checkpoint, or an ONNX file with another description.

    Args:
        model: as it was loaded.
        calibration: replaces what it had.
        path: the copy; `.onnx` for ONNX files.
    Raises:
        OutputError: it can't be written.
        UsageError: the suffix doesn't fit.
    """
    is_onnx = isinstance(model.network, OnnxNetwork)
    if isinstance(model.network, ExportedNetwork) and not is_onnx:
        raise UsageError(
            f"{model.weights_path.name} keeps its calibration as it was exported",
            hint="calibrate the checkpoint that it came from, and export that",
        )
    if is_onnx != (path.suffix.lower() == SUFFIX):
        raise UsageError(
            f"the calibrated copy of {model.weights_path.name} can't be {path.name}",
            hint=f"name it {path.stem}{SUFFIX if is_onnx else '.pt'}; imgcls export makes ONNX of a calibrated model",
        )
    if isinstance(model.network, OnnxNetwork):
        card = replace(model.network.file.card, calibration=calibration)
        content = model.weights_path.read_bytes()
        with replacing(path) as part, part.open("wb") as file:
            file.writelines(laid_out(content, {CARD_KEY: card.to_json()}))
        return
    try:
        stored = load_checkpoint(model.weights_path)
    except ModelError:
        # Published weights, which become a checkpoint of ours.
        save_loaded(replace(model, calibration=calibration), path)
        return
    save_checkpoint(replace(stored, calibration=calibration, resume={}), path)
