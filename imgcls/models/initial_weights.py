"""What a training may begin with instead of random weights: published ones, a state_dict, or a checkpoint.

The backbone is taken over as it is. The head is kept where its classes are those of the new data, and else replaced.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from imgcls.errors import ModelError
from imgcls.host.digests import file_sha256
from imgcls.host.tensor_files import load_tensors
from imgcls.models.building import build_from_state
from imgcls.models.checkpoint import Checkpoint, load_checkpoint
from imgcls.models.families.family import DownloadProgress
from imgcls.models.heads import reorder_head, replace_head
from imgcls.models.onnx.model import is_onnx
from imgcls.models.registry import find_checkpoint, published_weights
from imgcls.models.state_dicts import FoundWeights, load_state_dict


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a network's first weights came from, so that a figure can be traced.

    Attributes:
        model: the network's name.
        weights: torchvision's name of the weights, a bundled model, or the file.
        weights_sha256: of the file that held them.
        kept_head: whether the head was taken over too, its classes being those of the data.
    """

    model: str
    weights: str
    weights_sha256: str
    kept_head: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Start:
    """Weights to begin with, in the network that they fit.

    Attributes:
        network: with the head that it came with, on the CPU; its weights may be mapped from the file.
        classes: labels in the order of that head's outputs; empty where nobody knows them.
        model, weights, weights_sha256: as in `Origin`.
        images: fingerprints of the images that they were trained and validated on, where known.
    """

    network: nn.Module
    classes: tuple[str, ...]
    model: str
    weights: str
    weights_sha256: str
    images: dict[str, Tensor] = field(default_factory=dict)

    def network_for(self, classes: tuple[str, ...]) -> tuple[nn.Module, Origin]:
        """A network of its own for the data's classes; a new head is drawn from torch's global generator.

        Args:
            classes: labels in the order of the outputs to be; matched by name.
        """
        network = copy.deepcopy(self.network)
        kept = set(classes) == set(self.classes)
        if kept:
            reorder_head(network, [self.classes.index(label) for label in classes])
        else:
            replace_head(network, len(classes))
        return network, Origin(self.model, self.weights, self.weights_sha256, kept_head=kept)


def stored_start(spec: str) -> Checkpoint | None:
    """The checkpoint that `--weights` or `--model` names; None for a file that holds a plain state_dict.

    Raises:
        ModelError: nothing is there, it can't be read, or it can't be trained.
    """
    path = _located(spec)
    content = load_tensors(path)
    return load_checkpoint(path) if isinstance(content, dict) and "format_version" in content else None


def load_start(
    name: str,
    arguments: Mapping[str, Any],
    *,
    pretrained: str = "",
    weights: str = "",
    progress: DownloadProgress | None = None,
) -> Start:
    """Read the weights that a training is to begin with.

    Args:
        name: of the network.
        arguments: of its builder, as it is going to be trained.
        pretrained: torchvision's name of published weights, such as `IMAGENET1K_V1`.
        weights: in their place, a state_dict, a checkpoint, a run's folder or a bundled model.
        progress: called with bytes so far and in all while published weights are downloaded.
    Raises:
        ModelError: they are missing, damaged, don't fit the network, or can't be downloaded.
    """
    if not weights:
        path = published_weights(name, pretrained, progress=progress)
        return _start(name, arguments, path, None, pretrained)
    path = _located(weights)
    checkpoint = stored_start(weights)
    if checkpoint is not None and checkpoint.model_name != name:
        raise ModelError(
            f"{weights} is a checkpoint of {checkpoint.model_name!r}, not of {name!r}",
            hint=f"leave out the network's name, or begin with the checkpoint's: --model {weights}",
        )
    return _start(name, arguments, path, checkpoint, weights)


def _located(spec: str) -> Path:
    path = find_checkpoint(spec)
    if path is None:
        raise ModelError(f"no such weights: {spec}", hint="name a file, a run's folder, or the bundled cifar10-cnn")
    if is_onnx(path):
        raise ModelError(
            f"{spec} was exported, and an ONNX file can't be trained further",
            hint="begin with the checkpoint that it was exported from",
        )
    return path


def _start(name: str, arguments: Mapping[str, Any], path: Path, checkpoint: Checkpoint | None, weights: str) -> Start:
    classes = () if checkpoint is None else checkpoint.classes
    found = load_state_dict(path) if checkpoint is None else FoundWeights(checkpoint.weights)
    num_classes = len(classes) or None
    network, _remarks = build_from_state(name, found, source=path, num_classes=num_classes, arguments=arguments)
    images = {} if checkpoint is None else checkpoint.images
    return Start(network, classes, name, weights, file_sha256(path), images)
