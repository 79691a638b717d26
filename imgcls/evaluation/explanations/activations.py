"""The activations of a network that still know where in the image they come from.

Shapes: B batch, D channels, h and w places, H and W pixels of the input, T tokens.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor, nn

# A class token, one of distillation, and registers.
MOST_EXTRA_TOKENS = 5
# Maps of fewer places say little about where; a coarser one is taken only where there is no other.
LEAST_PLACES = 4
# How far the shape of a map may be from that of the input, for borders that convolutions lose.
SHAPE_TOLERANCE = 0.35


class Activation(NamedTuple):
    """An output of a layer.

    Attributes:
        layer: its name in the network.
        value: as the layer gave it.
        places: height and width of its map.
        kind: `channels_first` (B, D, h, w), `channels_last` (B, h, w, D) or `tokens` (B, T, D).
    """

    layer: str
    value: Tensor
    places: tuple[int, int]
    kind: str

    def as_maps(self, tensor_like_value: Tensor) -> Tensor:
        """The activation, or its gradient, as (B, D, h, w)."""
        if self.kind == "channels_first":
            return tensor_like_value
        if self.kind == "channels_last":
            return tensor_like_value.permute(0, 3, 1, 2)
        height, width = self.places
        # Extra tokens stand before those of the image.
        tokens_BTD = tensor_like_value[:, -height * width :]
        return tokens_BTD.transpose(1, 2).reshape(len(tokens_BTD), -1, height, width)


@contextmanager
def recorded(network: nn.Module) -> Iterator[list[tuple[str, Tensor]]]:
    """Note the output of every layer while this thread runs a network; others may run it at the same time."""
    outputs: list[tuple[str, Tensor]] = []
    own = threading.get_ident()

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            first = output[0] if isinstance(output, (tuple, list)) and output else output
            if threading.get_ident() == own and isinstance(first, Tensor) and first.requires_grad:
                outputs.append((name, first))

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in network.named_modules() if name]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def with_places(outputs: list[tuple[str, Tensor]], input_BCHW: Tensor) -> list[Activation]:
    """Those outputs that are maps of the input, in the order in which they were computed."""
    batch, size = len(input_BCHW), (input_BCHW.shape[2], input_BCHW.shape[3])
    tokens = {
        value.shape[1]: places
        for _name, value in outputs
        if value.ndim == 3 and len(value) == batch and (places := _places_of_tokens(value.shape[1], size))
    }
    found = []
    # A block gives on what its last layer made: that layer's name says more.
    names: dict[int, str] = {}
    for name, value in outputs:
        names[id(value)] = max(names.get(id(value), ""), name, key=lambda each: (bool(each), each.count(".")))
    for value in {id(value): value for _name, value in outputs}.values():
        name = names[id(value)]
        if len(value) != batch:
            continue
        if value.ndim == 3 and value.shape[1] in tokens:
            found.append(Activation(name, value, tokens[value.shape[1]], "tokens"))
        # Attention among tokens looks like a map, and is none.
        elif value.ndim == 4 and tokens.keys().isdisjoint(value.shape[1:]):
            first, last = (value.shape[2], value.shape[3]), (value.shape[1], value.shape[2])
            if _fits(first, size):
                found.append(Activation(name, value, first, "channels_first"))
            elif _fits(last, size):
                found.append(Activation(name, value, last, "channels_last"))
    return found


def _places_of_tokens(count: int, size: tuple[int, int]) -> tuple[int, int] | None:
    for extra in range(MOST_EXTRA_TOKENS + 1):
        for height in range(2, count - extra):
            width, rest = divmod(count - extra, height)
            if not rest and _fits((height, width), size) and size[0] * width == size[1] * height:
                return height, width
    return None


def _fits(places: tuple[int, int], size: tuple[int, int]) -> bool:
    height, width = places
    if min(height, width) < 2 or height > size[0] or width > size[1]:
        return False
    return abs(height * size[1] / (width * size[0]) - 1) < SHAPE_TOLERANCE
