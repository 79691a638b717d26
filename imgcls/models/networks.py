"""Building a network from a name, and putting weights into it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from imgcls.errors import ModelError
from imgcls.models.cnn import CNN
from imgcls.models.mlp import MLP
from imgcls.models.pretrained import build_pretrained, is_pretrained_name

OWN = {"mlp": MLP, "cnn": CNN}
# How many differences between a file and a network an error names before it only counts them.
DIFFERENCES_SHOWN = 3


def build_network(name: str, *, num_classes: int, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """An untrained network: `mlp`, `cnn`, or one of torchvision's classifiers.

    Args:
        name: see `imgcls models`.
        num_classes: outputs of the last layer.
        arguments: keyword arguments of the builder; lists stand for tuples, as TOML has none.
    Raises:
        ModelError: no such network, or it doesn't take the arguments.
    """
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in (arguments or {}).items()}
    if name in OWN:
        try:
            network: nn.Module = OWN[name](num_classes, **settings)
        except (TypeError, ValueError, RuntimeError) as exc:
            raise ModelError(
                f"can't build {name!r} with {settings}: {exc}", hint="check [model] in the recipe"
            ) from exc
        return network
    if not is_pretrained_name(name):
        raise ModelError(f"unknown model {name!r}", hint=f"use {', '.join(OWN)} or a name that 'imgcls models' lists")
    return build_pretrained(name, num_classes=num_classes, **settings)


def build_with_weights(
    name: str, *, num_classes: int, weights: Mapping[str, Tensor], arguments: Mapping[str, Any] | None = None
) -> nn.Module:
    """A network that holds the given weights, in float32 and in eval mode, without initialising it first.

    Args:
        name: see `imgcls models`.
        num_classes: outputs of the last layer.
        weights: a state_dict on the CPU; half-precision storage is widened.
        arguments: keyword arguments of the builder.
    Raises:
        ModelError: the weights don't fit; names the first differences.
    """
    # Built on the meta device a network has shapes but no memory, so no random numbers are drawn to be thrown away.
    with torch.device("meta"):
        network = build_network(name, num_classes=num_classes, arguments=arguments)
    check_fit(network, weights, name)
    widened = {
        key: value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
        for key, value in weights.items()
    }
    network.load_state_dict(widened, assign=True)
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        # Tables that a network computes for itself and doesn't store (Swin v2's) need a real construction.
        network = build_network(name, num_classes=num_classes, arguments=arguments)
        network.load_state_dict(widened)
    return network.eval()


def check_fit(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Compare names and shapes.

    Raises:
        ModelError: a tensor is missing, unexpected, or of another shape; names the first of them.
    """
    expected = network.state_dict()
    differences = [f"{key} is missing" for key in expected if key not in weights]
    differences += [f"{key} is unexpected" for key in weights if key not in expected]
    differences += [
        f"{key} has shape {tuple(weights[key].shape)}, not {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in weights and weights[key].shape != tensor.shape
    ]
    if differences:
        shown = "; ".join(differences[:DIFFERENCES_SHOWN])
        more = f"; and {len(differences) - DIFFERENCES_SHOWN} more" if len(differences) > DIFFERENCES_SHOWN else ""
        raise ModelError(
            f"the weights don't fit {name!r}: {shown}{more}", hint="name the architecture that they belong to"
        )
