"""What `--model` accepts, and how each becomes a network with weights, class names and transform."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from imgcls.errors import ModelError
from imgcls.host.digests import file_sha256
from imgcls.host.tensor_files import load_tensors
from imgcls.images.transform import Transform
from imgcls.models.building import OWN, build_with_weights
from imgcls.models.checkpoint import Checkpoint, load_checkpoint
from imgcls.models.entries import BUNDLED, DEFAULT_MODEL
from imgcls.models.imagenet import imagenet_classes
from imgcls.models.onnx.model import is_onnx
from imgcls.models.torchvision_models import current_name, drop_auxiliary_heads, is_pretrained_name, pretrained_entry
from imgcls.models.weights_cache import cached_weights

# What DataParallel puts before every name.
PARALLEL = "module."
DownloadProgress = Callable[[int, int | None], None]


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
        spec: a checkpoint, a run folder, an exported `.onnx` file, a bundled name or a torchvision classifier's name,
            tried in this order.
        weights: a plain state_dict for a torchvision architecture, in place of its pretrained weights.
        progress: called with bytes so far and in all while weights are downloaded.
    Raises:
        ModelError: no such model, or its weights are missing, damaged, wrong, or can't be downloaded.
    """
    path = find_checkpoint(spec)
    if weights is not None:
        if path is not None or spec in BUNDLED or spec in OWN:
            raise ModelError(
                f"--weights goes with a torchvision architecture; {spec!r} has its own weights",
                hint=f"imgcls predict -m alexnet --weights {weights}",
            )
        return _load_pretrained(spec, weights)
    if path is not None and is_onnx(path):
        return _from_onnx(path)
    if path is not None:
        return _from_checkpoint(load_checkpoint(path), path)
    if spec in BUNDLED:
        with resources.as_file(resources.files("imgcls.models").joinpath("bundled", f"{spec}.pt")) as bundled:
            return _from_checkpoint(load_checkpoint(bundled), bundled, name=spec)
    if not is_pretrained_name(spec):
        if Path(spec).is_dir():
            raise ModelError(f"{spec} holds neither best.pt nor last.pt", hint="name a run folder or a checkpoint file")
        raise ModelError(unknown_model_message(spec), hint="imgcls models lists the names; a path must exist")
    return _load_pretrained(spec, cached_weights(pretrained_entry(spec), progress=progress))


def find_checkpoint(spec: str) -> Path | None:
    """The checkpoint file that a path names: the file itself, or a run folder's best (else last) one.

    Raises:
        ModelError: it looks like a path but nothing usable is there.
    """
    path = Path(spec)
    if path.is_file():
        return path
    for name in ("best.pt", "last.pt"):
        if (path / name).is_file():
            return path / name
    looks_like_path = len(path.parts) > 1 or path.suffix in (".pt", ".pth", ".onnx")
    if path.is_dir() and looks_like_path:
        raise ModelError(f"{spec} holds neither best.pt nor last.pt", hint="name a run folder or a checkpoint file")
    if looks_like_path:
        raise ModelError(f"no such checkpoint: {spec}", hint="check the path; imgcls models lists the names")
    return None


def unknown_model_message(spec: str) -> str:
    """Say that a name means nothing, with the nearest one that does."""
    import difflib

    from imgcls.models.torchvision_models import pretrained_names

    near = difflib.get_close_matches(spec, [*BUNDLED, *pretrained_names()], n=1)
    return f"unknown model {spec!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _from_checkpoint(checkpoint: Checkpoint, path: Path, *, name: str = "") -> LoadedModel:
    network = _build(
        checkpoint.model_name, path, checkpoint.weights, len(checkpoint.classes), checkpoint.model_arguments
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


def _load_pretrained(name: str, path: Path) -> LoadedModel:
    entry = pretrained_entry(name)
    classes = imagenet_classes()
    network = _build(name, path, state_dict_of(load_tensors(path), path), len(classes.names))
    return LoadedModel(
        name=name,
        network=drop_auxiliary_heads(network),
        classes=classes.names,
        transform=entry.transform,
        weights_sha256=file_sha256(path),
        weights_path=path,
        wordnet_ids=classes.wordnet_ids,
    )


def _build(
    name: str,
    path: Path,
    weights: Mapping[str, Tensor],
    num_classes: int,
    arguments: Mapping[str, Any] | None = None,
) -> nn.Module:
    try:
        return build_with_weights(name, num_classes=num_classes, weights=weights, arguments=arguments)
    except ModelError as exc:
        raise ModelError(f"{path}: {exc.message}", hint=exc.hint) from exc


def state_dict_of(content: Any, path: Path) -> dict[str, Tensor]:
    """The state_dict in a file: plain, or under `state_dict` or `model`, with or without DataParallel's prefix.

    Raises:
        ModelError: the file holds something else.
    """
    if isinstance(content, dict) and "format_version" in content:
        raise ModelError(f"{path} is a whole checkpoint, not a state_dict", hint=f"use --model {path}")
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(f"{path} holds no state_dict", hint="save one: torch.save(model.state_dict(), FILE)")
    state = OrderedDict((current_name(str(key).removeprefix(PARALLEL)), value) for key, value in content.items())
    layout = getattr(content, "_metadata", None)
    if isinstance(layout, dict):
        # Versions of the layout, by module; the network itself is the one without a name.
        state._metadata = {  # type: ignore[attr-defined]
            "" if key == PARALLEL[:-1] else str(key).removeprefix(PARALLEL): value for key, value in layout.items()
        }
    return state
