"""Building a network from a name, and putting weights into it."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from imgcls.errors import ModelError
from imgcls.models.heads import head_name
from imgcls.models.registry import family_of
from imgcls.models.weights.state_dicts import FoundWeights, fit_names

# How many differences between a file and a network an error names before it only counts them.
DIFFERENCES_SHOWN = 3
# Wider, deeper and larger than any network.
MAX_ARGUMENT, MAX_ARGUMENTS = 1 << 16, 256
# What `torch.nn.init` makes its values with: in place, of the same shape.
FILLING = frozenset(
    getattr(Tensor, name) for name in ("normal_", "uniform_", "fill_", "zero_", "erfinv_", "mul_", "add_", "clamp_")
)
BOUNDS_HINT = "check the arguments in [model], or use another checkpoint"


def build_network(name: str, *, num_classes: int, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """An untrained network of any family.

    Args:
        name: see `imgcls models`.
        num_classes: outputs of the last layer.
        arguments: keyword arguments of the builder; lists stand for tuples, as TOML has none.
    Raises:
        ModelError: no such network, or it doesn't take the arguments.
    """
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in (arguments or {}).items()}
    _check_bounds(name, settings)
    return family_of(name).build(name, num_classes=num_classes, arguments=settings)


def _check_bounds(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse arguments that would build until the memory ends, as a damaged or hostile file may hold them."""
    values: list[Any] = list(settings.values())
    count = 0
    while values:
        value = values.pop()
        count += 1
        if isinstance(value, (list, tuple)):
            values.extend(value)
        elif isinstance(value, (int, float)) and not abs(value) <= MAX_ARGUMENT:
            raise ModelError(f"can't build {name!r}: {value!r} is out of range", hint=BOUNDS_HINT)
        if count > MAX_ARGUMENTS:
            raise ModelError(f"can't build {name!r}: more than {MAX_ARGUMENTS} values", hint=BOUNDS_HINT)


def build_from_state(
    name: str,
    found: FoundWeights,
    *,
    source: Path,
    num_classes: int | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> tuple[nn.Module, tuple[str, ...]]:
    """A network around weights of any number of classes, as a file holds them, ready to answer.

    Args:
        name: of the network.
        found: its weights, under whatever prefixes.
        source: the file, for messages.
        num_classes: outputs of the last layer; None for as many as the weights have.
        arguments: of the builder; those that the weights ask for come on top.
    Returns:
        The network, and a remark on each thing that was stripped or left out.
    Raises:
        ModelError: they don't fit.
    """
    family = family_of(name)
    try:
        bare = build_unallocated(name, num_classes=num_classes or 1000, arguments=arguments)
        named = fit_names(found, list(bare.state_dict()), current_name=family.current_name)
        asked_for = family.arguments_of(name, named.tensors)
        if asked_for:
            arguments = {**(arguments or {}), **asked_for}
            bare = build_unallocated(name, num_classes=num_classes or 1000, arguments=arguments)
            named = fit_names(found, list(bare.state_dict()), current_name=family.current_name)
        rows = named.tensors.get(f"{head_name(bare)}.weight")
        if num_classes is None and rows is not None and rows.ndim:
            num_classes = len(rows)
        network = build_with_weights(
            name, num_classes=num_classes or 1000, weights=family.fit(bare, named.tensors), arguments=arguments
        )
    except ModelError as exc:
        raise ModelError(f"{source}: {exc.message}", hint=exc.hint) from exc
    return family.for_answers(network), named.remarks


def build_with_weights(
    name: str, *, num_classes: int, weights: Mapping[str, Tensor], arguments: Mapping[str, Any] | None = None
) -> nn.Module:
    """A network that holds the given weights, in float32 and in eval mode, without initialising it first.

    Args:
        name: see `imgcls models`.
        num_classes: outputs of the last layer.
        weights: a state_dict on the CPU; other floating-point types are converted.
        arguments: keyword arguments of the builder.
    Raises:
        ModelError: the weights don't fit; names the first differences.
    """
    network = _loaded(build_unallocated(name, num_classes=num_classes, arguments=arguments), name, weights)
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        # Swin's, BEiT's and MaxViT's tables in timm are in no state_dict, and are filled after they were allocated.
        with torch.random.fork_rng():
            network = build_network(name, num_classes=num_classes, arguments=arguments)
        network = _loaded(network, name, weights)
    return network.eval()


def _loaded(network: nn.Module, name: str, weights: Mapping[str, Tensor]) -> nn.Module:
    state = state_for(network, weights)
    try:
        # The network has the last word on names: torchvision's know older ones of their own tensors.
        network.load_state_dict(state, assign=True)
    except (RuntimeError, ValueError) as exc:
        differences = describe_differences(network, state) or str(exc).splitlines()[-1].strip()
        raise ModelError(
            f"the weights don't fit {name!r}: {differences}", hint="name the architecture that they belong to"
        ) from exc
    return network


def build_unallocated(name: str, *, num_classes: int, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """A network whose parameters have shapes but no memory; see `build_network`."""
    with _Unallocated():
        return build_network(name, num_classes=num_classes, arguments=arguments)


class _Unallocated(TorchFunctionMode):
    """Parameters get shapes but no memory, so that no random numbers are drawn only to be overwritten.

    Unlike the whole meta device it leaves arithmetic alone: RegNets compute their widths with tensors, and Swin v2's
    keep tables that are in no state_dict.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty and options.get("device") is None:
            options["device"] = "meta"
        # Where there is no memory there is nothing to fill, and torch takes most of the time for doing nothing.
        if func in FILLING and args[0].is_meta:
            return args[0]
        return func(*args, **options)


def state_for(network: nn.Module, weights: Mapping[str, Tensor]) -> "OrderedDict[str, Tensor]":
    """The weights as `network.load_state_dict` wants them: in float32, with the layout's version.

    The version rides on a state_dict as `_metadata`, which a plain dictionary lacks. One that has exactly today's names
    is taken for today's layout; without either, torch assumes the oldest, from before 2018.
    """
    state = OrderedDict((key, _plain(value)) for key, value in weights.items())
    layout = getattr(weights, "_metadata", None)
    current = network.state_dict()
    if layout is None and state.keys() == current.keys():
        layout = current._metadata  # type: ignore[attr-defined]
    if layout is not None:
        state._metadata = layout  # type: ignore[attr-defined]
    return state


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    # Of a convolution's filters, channels_last is as good an order.
    return tensor if tensor.is_contiguous() or _is_channels_last(tensor) else tensor.contiguous()


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


def describe_differences(network: nn.Module, weights: Mapping[str, Tensor]) -> str:
    """Name the first tensors that are missing, unexpected, or of another shape; empty if there are none."""
    expected = network.state_dict()
    # Files from before 2018 lack these counters, and torch fills them in.
    differences = [
        f"{key} is missing" for key in expected if key not in weights and not key.endswith("num_batches_tracked")
    ]
    differences += [f"{key} is unexpected" for key in weights if key not in expected]
    differences += [
        f"{key} has shape {tuple(weights[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in weights and weights[key].shape != tensor.shape
    ]
    more = f"; and {len(differences) - DIFFERENCES_SHOWN} more" if len(differences) > DIFFERENCES_SHOWN else ""
    return "; ".join(differences[:DIFFERENCES_SHOWN]) + more
