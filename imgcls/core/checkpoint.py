"""A checkpoint: one file of tensors and plain values that holds all it takes to use a network.

    format_version  1
    model           {"name": "cnn", "arguments": {...}}
    classes         ["airplane", ...]
    transform       Transform.to_dict()
    weights         state_dict
    metrics         {"top1": 0.9, ...}
    recipe          the resolved configuration of the run
    versions        {"imgcls": ..., "torch": ...}
    start           only where training began with trained weights: their name and SHA-256
    resume          only in last.pt: optimiser, schedule, epoch, random states

Read with `torch.load(weights_only=True)`, so that a file from a stranger can't run code.
"""

import pickle
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from imgcls.core.files import replacing
from imgcls.core.transforms import Transform
from imgcls.core.versions import versions
from imgcls.errors import ModelError

FORMAT_VERSION = 1
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
        resume: optimiser, schedule and random states; empty except in `last.pt`.
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
    resume: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    content = {
        "format_version": FORMAT_VERSION,
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
    if checkpoint.resume:
        content["resume"] = checkpoint.resume
    with replacing(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as exc:
            # PyTorch's zip writer reports a full disk as a RuntimeError.
            raise OSError(str(exc).splitlines()[0]) from exc


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
            resume=dict(content.get("resume", {})),
        )
    except ModelError as exc:
        raise ModelError(f"{path} is damaged: {exc.message}", hint="use another checkpoint") from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise ModelError(f"{path} is damaged: {exc!r}", hint="use another checkpoint") from exc


def load_tensors(path: Path) -> Any:
    """Read a file of tensors and plain values, mapped into memory where its format allows; never runs its code.

    Raises:
        ModelError: missing, unreadable, not such a file, or one that would have to run code.
    """
    if not path.is_file():
        raise ModelError(f"no such weights file: {path}", hint="check the path, or list the models: imgcls models")
    try:
        return _load_mapped(path)
    except pickle.UnpicklingError as exc:
        # Bytes that are no pickle at all end here too, as operands that nobody knows.
        if "Unsupported operand" in str(exc):
            raise _unreadable(path, "not a file that torch.save wrote") from exc
        raise ModelError(
            f"{path} holds more than tensors and plain values, and was not loaded: it could run code",
            hint="save its state_dict alone: torch.save(model.state_dict(), FILE)",
        ) from exc
    except (OSError, RuntimeError) as exc:
        raise _unreadable(path, str(exc).partition("\n")[0].partition(". ")[0]) from exc
    except Exception as exc:
        # Damaged bytes drive the unpickler into any error there is.
        raise _unreadable(path, "not a file that torch.save wrote, or damaged") from exc


def _load_mapped(path: Path) -> Any:
    with warnings.catch_warnings():
        # About other ways to open other kinds of files; what comes of this one is said by the result.
        warnings.simplefilter("ignore")
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as exc:
            # Files written before torch 1.6 can't be mapped.
            if "mmap can only be used" not in str(exc):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(path: Path, reason: str) -> ModelError:
    return ModelError(f"{path} can't be read: {reason}", hint="the file is damaged; fetch or train it again")


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


def _compact(tensor: Tensor) -> Tensor:
    """On the CPU, without the rest of a larger tensor that this one may be a view of, which would be saved as well."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
