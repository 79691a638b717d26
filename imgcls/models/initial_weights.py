"""What a training may begin with instead of random weights: published ones, a state_dict, or a checkpoint.

The backbone is taken over as it is. The head is kept where its classes are those of the new data, and else replaced.
"""

import contextlib
import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from imgcls.errors import ModelError
from imgcls.host.digests import file_sha256
from imgcls.host.tensor_files import load_tensors
from imgcls.models.building import OWN, build_unallocated, build_with_weights
from imgcls.models.checkpoint import Checkpoint, load_checkpoint
from imgcls.models.entries import BUNDLED
from imgcls.models.heads import head_name, reorder_head, replace_head
from imgcls.models.loading import find_checkpoint, state_dict_of
from imgcls.models.onnx.model import is_onnx
from imgcls.models.torchvision_models import drop_auxiliary_heads, is_pretrained_name, pretrained_entry
from imgcls.models.weights_cache import cached_weights

# What GoogLeNet's and Inception's second outputs are called in their files.
AUXILIARY_PREFIXES = ("aux1.", "aux2.", "AuxLogits.")
# The table of a vision transformer that has one row a patch of the image, and one more.
POSITIONS = "encoder.pos_embedding"


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
    """

    network: nn.Module
    classes: tuple[str, ...]
    model: str
    weights: str
    weights_sha256: str

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


def is_architecture(name: str) -> bool:
    """Whether a name is that of a network, ours or torchvision's, and no path."""
    return name in OWN or (find_separator(name) < 0 and is_pretrained_name(name))


def find_separator(name: str) -> int:
    """Where a path's first separator is; negative for a bare name."""
    return max(name.find("/"), name.find("\\"))


def stored_start(spec: str) -> Checkpoint | None:
    """The checkpoint that `--weights` or `--model` names; None for a file that holds a plain state_dict.

    Raises:
        ModelError: nothing is there, it can't be read, or it can't be trained.
    """
    with _located(spec) as path:
        content = load_tensors(path)
        return load_checkpoint(path) if isinstance(content, dict) and "format_version" in content else None


def whole_spec(spec: str) -> str:
    """The same checkpoint or file, named so that it is found from any folder."""
    path = find_checkpoint(spec)
    return str(path.absolute()) if path is not None else spec


def load_start(
    name: str,
    arguments: Mapping[str, Any],
    *,
    pretrained: str = "",
    weights: str = "",
    progress: Callable[[int, int | None], None] | None = None,
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
        path = cached_weights(pretrained_entry(name, pretrained), progress=progress)
        return _start(name, arguments, state_dict_of(load_tensors(path), path), path, (), pretrained)
    checkpoint = stored_start(weights)
    with _located(weights) as path:
        if checkpoint is None:
            return _start(name, arguments, state_dict_of(load_tensors(path), path), path, (), weights)
        if checkpoint.model_name != name:
            raise ModelError(
                f"{weights} is a checkpoint of {checkpoint.model_name!r}, not of {name!r}",
                hint=f"leave out the network's name, or begin with the checkpoint's: --model {weights}",
            )
        return _start(name, arguments, checkpoint.weights, path, checkpoint.classes, weights)


@contextlib.contextmanager
def _located(spec: str) -> Iterator[Path]:
    path = find_checkpoint(spec)
    if path is None and spec in BUNDLED:
        with resources.as_file(resources.files("imgcls.models").joinpath("bundled", f"{spec}.pt")) as bundled:
            yield bundled
        return
    if path is None:
        raise ModelError(f"no such weights: {spec}", hint="name a file, a run's folder, or the bundled cifar10-cnn")
    if is_onnx(path):
        raise ModelError(
            f"{spec} was exported, and an ONNX file can't be trained further",
            hint="begin with the checkpoint that it was exported from",
        )
    yield path


def _start(
    name: str,
    arguments: Mapping[str, Any],
    state: Mapping[str, Tensor],
    path: Path,
    classes: tuple[str, ...],
    weights: str,
) -> Start:
    arguments = dict(arguments)
    if any(key.startswith(AUXILIARY_PREFIXES) for key in state):
        arguments["aux_logits"] = True
    try:
        bare = build_unallocated(name, num_classes=len(classes) or 1, arguments=arguments)
        state = _fit_positions(bare, state)
        rows = state.get(f"{head_name(bare)}.weight")
        num_classes = len(classes) or (1000 if rows is None else len(rows))
        network = build_with_weights(name, num_classes=num_classes, weights=state, arguments=arguments)
    except ModelError as exc:
        raise ModelError(f"{path}: {exc.message}", hint=exc.hint) from exc
    return Start(drop_auxiliary_heads(network), classes, name, weights, file_sha256(path))


def _fit_positions(network: nn.Module, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Interpolate a vision transformer's positions to another size of image, as torchvision does."""
    wanted, found = network.state_dict().get(POSITIONS), state.get(POSITIONS)
    if wanted is None or found is None or wanted.shape == found.shape:
        return state
    from torchvision.models.vision_transformer import interpolate_embeddings

    try:
        return dict(interpolate_embeddings(network.image_size, network.patch_size, OrderedDict(state)))
    except ValueError as exc:
        raise ModelError(
            f"the positions can't be fitted to {network.image_size} px: {exc}", hint="leave out data.image_px"
        ) from exc
