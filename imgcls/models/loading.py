"""What `--model` accepts, and how each becomes a network with weights, class names and transform."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from imgcls.errors import ModelError
from imgcls.host.digests import file_sha256
from imgcls.images.transform import Transform
from imgcls.models.building import build_from_state
from imgcls.models.checkpoint import Checkpoint, load_checkpoint
from imgcls.models.families.bundled import OWN, bundled_checkpoint
from imgcls.models.families.family import DownloadProgress
from imgcls.models.imagenet import imagenet_classes
from imgcls.models.onnx.model import is_onnx
from imgcls.models.registry import DEFAULT_MODEL, family_of, find_checkpoint
from imgcls.models.state_dicts import load_state_dict


@dataclass(frozen=True)
class LoadedModel:
    """A network that is ready to answer, with all that its answers mean.

    Attributes:
        name: as the user would type it, or the checkpoint's own model name.
        network: in eval mode, float32, on the CPU.
        classes: labels in the order of the outputs.
        transform: the preprocessing that it was trained for.
        weights_sha256: of the file that the weights came from.
        weights_path: that file.
        wordnet_ids: of ImageNet's classes, else empty.
        recipe: the configuration that trained it, where known.
        metrics: figures stored with it, where known.
        images: fingerprints of the images that it was trained and validated on, where known.
    """

    name: str
    network: nn.Module
    classes: tuple[str, ...]
    transform: Transform
    weights_sha256: str
    weights_path: Path
    wordnet_ids: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Tensor] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Name and the first 12 digits of the weights' SHA-256, as every record names the model."""
        return f"{self.name}@{self.weights_sha256[:12]}"

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        return {
            "id": self.id,
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "num_classes": len(self.classes),
            "transform": self.transform.to_dict(),
        }


def load_model(
    spec: str = DEFAULT_MODEL, *, weights: Path | None = None, progress: DownloadProgress | None = None
) -> LoadedModel:
    """Load whatever `--model` names.

    Args:
        spec: a checkpoint, a run folder, an exported `.onnx` file, a bundled name or a network's name, tried in this
            order.
        weights: a plain state_dict for a named network, in place of its pretrained weights.
        progress: called with bytes so far and in all while weights are downloaded.
    Raises:
        ModelError: no such model, or its weights are missing, damaged, wrong, or can't be downloaded.
    """
    path = find_checkpoint(spec)
    if weights is not None:
        if path is not None or spec in OWN:
            raise ModelError(
                f"--weights goes with the name of a network; {spec!r} has its own weights",
                hint=f"imgcls predict -m alexnet --weights {weights}",
            )
        return _named(spec, weights)
    if path is not None and is_onnx(path):
        return _from_onnx(path)
    if path is not None:
        name = spec if path == bundled_checkpoint(spec) else ""
        return _from_checkpoint(load_checkpoint(path), path, name=name)
    family = family_of(spec)
    return _named(spec, family.weights_file(family.entry(spec), progress=progress))


def _from_checkpoint(checkpoint: Checkpoint, path: Path, *, name: str = "") -> LoadedModel:
    network = build_from_state(
        checkpoint.model_name,
        checkpoint.weights,
        source=path,
        num_classes=len(checkpoint.classes),
        arguments=checkpoint.model_arguments,
    )
    return LoadedModel(
        name=name or checkpoint.model_name,
        network=network,
        classes=checkpoint.classes,
        transform=checkpoint.transform,
        weights_sha256=file_sha256(path),
        weights_path=path,
        recipe=checkpoint.recipe,
        metrics=checkpoint.metrics,
        images=checkpoint.images,
    )


def _from_onnx(path: Path) -> LoadedModel:
    # The one kind of model that needs no torch to run; whoever loads it here wants it as a torch module.
    from imgcls.models.onnx.network import open_onnx_network

    file, network = open_onnx_network(path, device="cpu")
    return LoadedModel(
        name=file.card.name,
        network=network,
        classes=file.card.classes,
        transform=file.card.transform,
        weights_sha256=file.sha256,
        weights_path=path,
        wordnet_ids=file.card.wordnet_ids,
        recipe=file.card.recipe,
        metrics=file.card.metrics,
    )


def _named(name: str, path: Path) -> LoadedModel:
    family = family_of(name)
    entry = family.entry(name)
    classes = imagenet_classes()
    weights = load_state_dict(path)
    network = build_from_state(name, weights, source=path, num_classes=len(classes.names), arguments=entry.arguments)
    return LoadedModel(
        name=name,
        network=network,
        classes=classes.names,
        transform=entry.transform,
        weights_sha256=file_sha256(path),
        weights_path=path,
        wordnet_ids=classes.wordnet_ids,
    )
