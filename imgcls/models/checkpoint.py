"""A checkpoint: one file of tensors and plain values that holds all it takes to use a network.

    format_version  1
    model           {"name": "cnn", "arguments": {...}}
    classes         ["airplane", ...]
    transform       Transform.to_dict()
    weights         state_dict
    metrics         {"top1": 0.9, ...}
    recipe          the resolved configuration of the run
    versions        {"imgcls": ..., "torch": ...}
    images          fingerprints of the images behind the weights: train, val, earlier; int64 tensors
    calibration     only where `imgcls calibrate` made it: see `calibration.py`
    multi_label     only where images have several labels: see `multi_label.py`; then the format version is 2
    start           only where training began with trained weights: their name and SHA-256
    resume          only in last.pt: optimiser, schedule, epoch, random states

Read with `torch.load(weights_only=True)`, so that a file from a stranger can't run code.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from imgcls.errors import ModelError
from imgcls.host.files import replacing
from imgcls.host.tensor_files import load_tensors, save_tensors
from imgcls.host.versions import versions
from imgcls.images.transform import Transform
from imgcls.models.answers.calibration import Calibration
from imgcls.models.answers.multi_label import MultiLabel
from imgcls.models.weights.state_dicts import check_tensors

FORMAT_VERSION = 2
# What an older imgcls reads, for files that hold nothing that it would get wrong: it would answer with softmax.
PLAIN_VERSION = 1
REQUIRED = ("model", "classes", "transform", "weights")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds.

    Attributes:
        model_name: a name that `imgcls.models` builds (`mlp`, `cnn`, or one of torchvision's).
        model_arguments: keyword arguments of its builder, beside the number of classes.
        classes: labels in the order of the network's outputs.
        transform: the preprocessing that the network was trained for.
        weights: the network's state_dict, on the CPU.
        metrics: figures on the validation set, as `eval` names them.
        recipe: the resolved configuration that trained it.
        versions: of imgcls, Python, torch, ... at the time of writing.
        start: where the weights came from that its training began with; empty for random ones.
        images: fingerprints of the images that it was trained and validated on; empty in files of earlier versions.
        resume: optimiser, schedule and random states; empty except in `last.pt`.
        calibration: what is done to the logits; None where nobody calibrated the model.
        multi_label: the thresholds of its classes where images have several labels; None for one label per image.
    """

    model_name: str
    model_arguments: dict[str, Any]
    classes: tuple[str, ...]
    transform: Transform
    weights: dict[str, Tensor]
    metrics: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=versions)
    start: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Tensor] = field(default_factory=dict)
    resume: dict[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    multi_label: MultiLabel | None = None


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    content = {
        "format_version": PLAIN_VERSION if checkpoint.multi_label is None else FORMAT_VERSION,
        "model": {"name": checkpoint.model_name, "arguments": checkpoint.model_arguments},
        "classes": list(checkpoint.classes),
        "transform": checkpoint.transform.to_dict(),
        "weights": {name: _compact(tensor) for name, tensor in checkpoint.weights.items()},
        "metrics": checkpoint.metrics,
        "recipe": checkpoint.recipe,
        "versions": checkpoint.versions,
    }
    if checkpoint.start:
        content["start"] = checkpoint.start
    if checkpoint.images:
        content["images"] = checkpoint.images
    if checkpoint.resume:
        content["resume"] = checkpoint.resume
    if checkpoint.calibration is not None:
        content["calibration"] = checkpoint.calibration.to_dict()
    if checkpoint.multi_label is not None:
        content["multi_label"] = checkpoint.multi_label.to_dict()
    with replacing(path) as part:
        save_tensors(content, part)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, with its tensors on the CPU.

    Raises:
        ModelError: not one of ours, written by a newer imgcls, or damaged.
    """
    content = load_tensors(path)
    if not isinstance(content, dict) or "format_version" not in content:
        raise ModelError(
            f"{path} is not a checkpoint of imgcls",
            hint="for a plain state_dict, name its architecture: --model NAME --weights FILE",
        )
    version = content["format_version"]
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ModelError(
            f"{path} has checkpoint format {version!r}; this imgcls reads 1 to {FORMAT_VERSION}",
            hint="pip install --upgrade imgcls",
        )
    missing = [key for key in REQUIRED if key not in content]
    if missing:
        raise ModelError(f"{path} lacks {', '.join(missing)}", hint="the file is damaged; use another checkpoint")
    try:
        _check_kinds(content)
        check_tensors(content["weights"], path)
        return Checkpoint(
            model_name=content["model"]["name"],
            model_arguments=dict(content["model"]["arguments"]),
            classes=tuple(content["classes"]),
            transform=Transform.from_dict(content["transform"]),
            weights=dict(content["weights"]),
            metrics=dict(content.get("metrics", {})),
            recipe=dict(content.get("recipe", {})),
            versions=dict(content.get("versions", {})),
            start=dict(content.get("start", {})),
            images=dict(content.get("images", {})),
            resume=dict(content.get("resume", {})),
            calibration=Calibration.from_dict(content["calibration"], num_classes=len(content["classes"]))
            if "calibration" in content
            else None,
            multi_label=MultiLabel.from_dict(content["multi_label"], num_classes=len(content["classes"]))
            if "multi_label" in content
            else None,
        )
    except ModelError as exc:
        raise ModelError(f"{path} is damaged: {exc.message}", hint="use another checkpoint") from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise ModelError(f"{path} is damaged: {exc!r}", hint="use another checkpoint") from exc


def _check_kinds(content: dict[str, Any]) -> None:
    if not isinstance(content["model"]["name"], str):
        raise TypeError("the model's name is no text")
    classes, weights = content["classes"], content["weights"]
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise TypeError("classes is no list of names")
    if len(set(classes)) < len(classes):
        raise ValueError("two classes have the same name")
    if not isinstance(weights, dict) or not weights or not all(isinstance(v, Tensor) for v in weights.values()):
        raise TypeError("weights is no state_dict")
    if not all(isinstance(key, str) for key in weights):
        raise TypeError("weights has keys that are no names")


def _compact(tensor: Tensor) -> Tensor:
    """On the CPU, without the rest of a larger tensor that this one may be a view of, which would be saved as well."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
