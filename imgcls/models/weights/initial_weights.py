"""What a training may begin with instead of random weights: published ones, a state_dict, or a checkpoint.

The backbone is taken over as it is. The head is kept where its classes are those of the new data, and else replaced.
"""

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from imgcls.errors import ConfigError, ModelError
from imgcls.host.digests import file_sha256
from imgcls.host.tensor_files import load_tensors
from imgcls.models.answers.class_names import read_class_names
from imgcls.models.building import build_from_state
from imgcls.models.checkpoint import Checkpoint, load_checkpoint
from imgcls.models.families.family import DownloadProgress
from imgcls.models.heads import num_outputs, reorder_head, replace_head
from imgcls.models.onnx.model import is_onnx
from imgcls.models.registry import EXPORTED, family_of, find_checkpoint, published_weights
from imgcls.models.weights.state_dicts import FoundWeights, load_state_dict


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a network's first weights came from, so that a figure can be traced.

    Attributes:
        model: the network's name.
        weights: torchvision's name of the weights, a bundled model, or the file.
        weights_sha256: of the file that held them.
        kept_head: whether the head was taken over too, its classes being those of the data.
        weights_revision: the commit of the hub's repository that they came from, where they did.
    """

    model: str
    weights: str
    weights_sha256: str
    kept_head: bool = False
    weights_revision: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the revision only where there is one."""
        values = asdict(self)
        return values if self.weights_revision else {k: v for k, v in values.items() if k != "weights_revision"}


@dataclass(frozen=True)
class Start:
    """Weights to begin with, in the network that they fit.

    Attributes:
        network: with the head that it came with, on the CPU; its weights may be mapped from the file.
        classes: labels in the order of that head's outputs; empty where nobody knows them.
        model, weights, weights_sha256, weights_revision: as in `Origin`.
        images: fingerprints of the images that they were trained and validated on, where known.
        remarks: what was stripped or left out of the file's weights.
    """

    network: nn.Module
    classes: tuple[str, ...]
    model: str
    weights: str
    weights_sha256: str
    images: dict[str, Tensor] = field(default_factory=dict)
    weights_revision: str = ""
    remarks: tuple[str, ...] = ()

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
        return network, Origin(self.model, self.weights, self.weights_sha256, kept, self.weights_revision)


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
    labels: str = "",
    ema: bool = False,
    progress: DownloadProgress | None = None,
) -> Start:
    """Read the weights that a training is to begin with.

    Args:
        name: of the network.
        arguments: of its builder, as it is going to be trained.
        pretrained: torchvision's name of published weights, such as `IMAGENET1K_V1`.
        weights: in their place, a state_dict, a checkpoint, a run's folder or a bundled model.
        labels: a file of the class names of a state_dict's outputs, so that its head is kept where they are the data's.
        ema: take the exponential moving average that a state_dict's file holds.
        progress: called with bytes so far and in all while published weights are downloaded.
    Raises:
        ModelError: they are missing, damaged, don't fit the network, or can't be downloaded.
        ConfigError: labels or an EMA of weights that have their own, or other names than outputs.
    """
    if not weights:
        path = published_weights(name, pretrained, progress=progress)
        network, remarks = build_from_state(name, load_state_dict(path), source=path, arguments=arguments)
        revision = family_of(name).weights_revision(path)
        return Start(network, (), name, pretrained, file_sha256(path), weights_revision=revision, remarks=remarks)
    path = _located(weights)
    checkpoint = stored_start(weights)
    if checkpoint is not None and checkpoint.model_name != name:
        raise ModelError(
            f"{weights} is a checkpoint of {checkpoint.model_name!r}, not of {name!r}",
            hint=f"leave out the network's name, or begin with the checkpoint's: --model {weights}",
        )
    if checkpoint is not None:
        check_told(weights, labels=labels, ema=ema)
        network, _remarks = build_from_state(
            name,
            FoundWeights(checkpoint.weights),
            source=path,
            num_classes=len(checkpoint.classes),
            arguments=arguments,
        )
        return Start(network, checkpoint.classes, name, weights, file_sha256(path), checkpoint.images)
    classes = read_class_names(Path(labels)) if labels else ()
    network, remarks = build_from_state(name, load_state_dict(path, ema=ema), source=path, arguments=arguments)
    if classes and len(classes) != num_outputs(network):
        raise ConfigError(
            f"{weights} has {num_outputs(network)} classes, and {labels} names {len(classes)}",
            hint="name all its classes, one per line; or leave out --labels, and the head is replaced",
        )
    return Start(network, classes, name, weights, file_sha256(path), remarks=remarks)


def check_told(weights: str, *, labels: str, ema: bool) -> None:
    """Refuse to be told about weights what they say themselves.

    Raises:
        ConfigError: names what to leave out.
    """
    if labels or ema:
        told = "labels" if labels else "ema"
        raise ConfigError(
            f"model.{told} (--{told}) is for a file of plain weights; {weights or 'this model'} has its own",
            hint=f"leave out --{told}, or name such a file: --weights FILE --{told}" + (" FILE" if labels else ""),
        )


def _located(spec: str) -> Path:
    path = find_checkpoint(spec)
    if path is None:
        raise ModelError(f"no such weights: {spec}", hint="name a file, a run's folder, or the bundled cifar10-cnn")
    if is_onnx(path) or path.suffix.lower() in EXPORTED:
        raise ModelError(
            f"{spec} was exported, and an exported file can't be trained further",
            hint="begin with the checkpoint that it was exported from",
        )
    return path
