"""What `--model` accepts, and how each becomes a network with weights, class names and transform."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgcls.errors import ModelError, UsageError
from imgcls.host.digests import file_sha256
from imgcls.host.terminal_text import counted
from imgcls.images.transform import Transform
from imgcls.models.building import build_from_state
from imgcls.models.checkpoint import Checkpoint, load_checkpoint
from imgcls.models.exported import ORIGIN_HINT, ExportedNetwork, is_exported, open_exported
from imgcls.models.families.bundled import BUNDLED, OWN
from imgcls.models.families.family import DownloadProgress
from imgcls.models.heads import num_outputs
from imgcls.models.imagenet import imagenet_classes
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.onnx.model import is_onnx
from imgcls.models.registry import DEFAULT_MODEL, family_of, find_checkpoint, published_weights
from imgcls.models.weights.state_dicts import FoundWeights, load_state_dict

if TYPE_CHECKING:
    from imgcls.models.onnx.answers import Activation
    from imgcls.models.onnx.input_options import InputOptions


def load_model(
    spec: str = DEFAULT_MODEL,
    *,
    weights: Path | None = None,
    labels: Sequence[str] | None = None,
    ema: bool = False,
    transform: "Transform | InputOptions | None" = None,
    activation: "Activation | None" = None,
    output_name: str | None = None,
    progress: DownloadProgress | None = None,
    allow_code: bool = False,
) -> LoadedModel:
    """Load whatever `--model` names.

    Args:
        spec: a checkpoint, a run folder, an `.onnx` or `.pt2` file, a bundled name or a network's name, in this order.
        weights: a state_dict in any of the usual wrappings, for a named network or for that of a checkpoint, in place
            of its own weights.
        labels: class names in the order of the outputs of `weights`, or of an ONNX file that doesn't name them; a named
            network's are ImageNet's by default.
        ema: take the exponential moving average that `weights` holds.
        transform: the preprocessing of an ONNX file that doesn't say.
        activation: what turns its outputs into probabilities, where its graph doesn't show it.
        output_name: which of its outputs to read.
        progress: called with bytes so far and in all while weights are downloaded.
        allow_code: whether a file may be loaded whose loading runs code that is in it (`.pt2`).
    Raises:
        ModelError: no such model, or its weights are missing, damaged, wrong, or can't be downloaded.
        UsageError: labels without weights of one's own, or what an ONNX file lacks or has already.
    """
    path = find_checkpoint(spec)
    told = (transform, activation, output_name)
    is_onnx_file = path is not None and is_onnx(path)
    if not is_onnx_file and any(each is not None for each in told):
        raise UsageError(
            f"the preprocessing is told for ONNX files only; {spec!r} has its own",
            hint="leave out --preset, --mean, --std, --size and the others of their group",
        )
    if path is not None and is_onnx_file and weights is None and not ema:
        return _from_onnx(path, labels, transform, activation, output_name)
    if weights is None and (labels is not None or ema):
        raise UsageError(
            f"{'--labels' if labels is not None else '--ema'} goes with --weights; {spec!r} has its own",
            hint=f"leave it out, or load other weights: -m {spec} --weights FILE",
        )
    if path is not None and is_exported(path):
        if weights is not None:
            raise ModelError(f"--weights can't go into an exported file ({spec})", hint=ORIGIN_HINT)
        return _from_exported(open_exported(path, allow_code=allow_code))
    if weights is not None:
        return _with_weights(spec, path, weights, labels, ema=ema)
    if path is not None:
        return _from_checkpoint(load_checkpoint(path), path, name=spec if spec in BUNDLED else "")
    family = family_of(spec)
    entry = family.entry(spec)
    file = published_weights(spec, progress=progress)
    name = entry.network or spec
    network, remarks = build_from_state(name, load_state_dict(file), source=file, arguments=entry.arguments)
    known = imagenet_classes()
    return LoadedModel(
        name=spec,
        network_name=name,
        network=network,
        classes=entry.classes or known.names,
        transform=entry.transform,
        weights_sha256=file_sha256(file),
        weights_path=file,
        wordnet_ids=() if entry.classes else known.wordnet_ids,
        arguments={**entry.arguments, **family.training_arguments(spec, trained=True)},
        remarks=remarks,
        weights_revision=family.weights_revision(file),
    )


def _from_checkpoint(checkpoint: Checkpoint, path: Path, *, name: str = "") -> LoadedModel:
    network, _remarks = build_from_state(
        checkpoint.model_name,
        FoundWeights(checkpoint.weights),
        source=path,
        num_classes=len(checkpoint.classes),
        arguments=checkpoint.model_arguments,
    )
    return LoadedModel(
        name=name or checkpoint.model_name,
        network_name=checkpoint.model_name,
        network=network,
        classes=checkpoint.classes,
        transform=checkpoint.transform,
        weights_sha256=file_sha256(path),
        weights_path=path,
        arguments=checkpoint.model_arguments,
        recipe=checkpoint.recipe,
        metrics=checkpoint.metrics,
        images=checkpoint.images,
        calibration=checkpoint.calibration,
        multi_label=checkpoint.multi_label,
    )


def _with_weights(
    spec: str, path: Path | None, weights: Path, labels: Sequence[str] | None, *, ema: bool
) -> LoadedModel:
    if path is not None and is_onnx(path):
        raise ModelError(f"--weights can't go into an ONNX file ({spec})", hint="name the network, or its checkpoint")
    if path is not None:
        stored = load_checkpoint(path)
        name, classes, transform = stored.model_name, stored.classes, stored.transform
        arguments: Mapping[str, Any] = stored.model_arguments
    elif spec in OWN:
        raise ModelError(
            f"the size and layers of {spec!r} are in no state_dict",
            hint=f"name a checkpoint that has them: -m RUN --weights {weights}",
        )
    else:
        entry = family_of(spec).entry(spec)
        name, arguments, transform = entry.network or spec, entry.arguments, entry.transform
        classes = entry.classes or imagenet_classes().names
    found = load_state_dict(weights, ema=ema)
    network, remarks = build_from_state(name, found, source=weights, arguments=arguments)
    count = num_outputs(network)
    if labels is not None:
        classes = tuple(labels)
    if len(classes) != count:
        raise ModelError(
            f"{weights} has {counted(count, 'class', plural='classes')}, and {counted(len(classes), 'name')} known",
            hint="name its classes: --labels FILE, one name per line",
        )
    _check_labels(classes)
    known = imagenet_classes()
    return LoadedModel(
        name=name,
        network=network,
        classes=classes,
        transform=transform,
        weights_sha256=file_sha256(weights),
        weights_path=weights,
        wordnet_ids=known.wordnet_ids if classes == known.names else (),
        arguments={**arguments, **family_of(name).training_arguments(name, trained=True)},
        remarks=remarks,
    )


def _check_labels(classes: tuple[str, ...]) -> None:
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise UsageError(f"the class {twice!r} is named twice", hint="give each class a name of its own")


def _from_onnx(
    path: Path,
    labels: Sequence[str] | None,
    transform: "Transform | InputOptions | None",
    activation: "Activation | None",
    output_name: str | None,
) -> LoadedModel:
    # The one kind of model that needs no torch to run; whoever loads it here wants it as a torch module.
    from imgcls.models.onnx.model import OnnxModel
    from imgcls.models.onnx.network import OnnxNetwork

    file = OnnxModel(
        path, device="cpu", labels=labels, transform=transform, activation=activation, output_name=output_name
    )
    return _from_exported(OnnxNetwork(file), notes=file.notes)


def _from_exported(network: ExportedNetwork, notes: tuple[str, ...] = ()) -> LoadedModel:
    card, known = network.card, imagenet_classes()
    return LoadedModel(
        name=card.name,
        network=network,
        classes=card.classes,
        transform=card.transform,
        weights_sha256=network.sha256,
        weights_path=network.path,
        wordnet_ids=known.wordnet_ids if card.classes == known.names else card.wordnet_ids,
        notes=notes,
        weights_revision=card.weights_revision,
        recipe=card.recipe,
        metrics=card.metrics,
        calibration=card.calibration,
        multi_label=card.multi_label,
    )
