"""What is traced: a network alone, or behind its transform; and which sides of its input may vary."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imgcls.errors import UsageError
from imgcls.export.graph_transform import WithTransform
from imgcls.models.loaded_model import LoadedModel

# Any sizes but 0 and 1, which torch.export would take for a property of the model; and no two the same.
EXAMPLE_BATCH, EXAMPLE_HEIGHT, EXAMPLE_WIDTH = 2, 97, 131


class Traceable(NamedTuple):
    """What an exporter takes.

    Attributes:
        network: in eval mode.
        example: an input.
        dynamic_shapes: which of its sides vary.
        input_name: of the graph's input.
    """

    network: nn.Module
    example: Tensor
    dynamic_shapes: Any
    input_name: str


def traceable(model: LoadedModel, *, with_transform: bool) -> Traceable:
    """A model's network, ready to be traced.

    Args:
        model: whose network it is.
        with_transform: put its transform in front; the input is then decoded RGB bytes, NHWC, of any size.
    Raises:
        UsageError: its transform can't be part of a graph.
    """
    batch = torch.export.Dim("batch")
    if not with_transform:
        example = torch.zeros(EXAMPLE_BATCH, 3, *model.transform.size_px)
        return Traceable(model.network, example, ({0: batch},), "images")
    transform = model.transform
    if transform.resize == "crop" and transform.crop_px > transform.resize_px:
        # Whatever answers here couldn't show such a graph its crops; see `pixel_input`.
        raise UsageError(
            f"{model.name} crops to {transform.crop_px} px what was resized to {transform.resize_px}, and no graph "
            "can hold that",
            hint="leave out --with-transform",
        )
    pixels = torch.zeros(EXAMPLE_BATCH, EXAMPLE_HEIGHT, EXAMPLE_WIDTH, 3, dtype=torch.uint8)
    sides = {0: batch, 1: torch.export.Dim("height"), 2: torch.export.Dim("width")}
    return Traceable(WithTransform(model.network, model.transform), pixels, (sides,), "pixels")
