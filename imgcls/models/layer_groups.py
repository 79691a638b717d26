"""A network's layers in their order, so that each can learn at a rate of its own (layer-wise learning-rate decay)."""

from collections.abc import Iterator

from torch import nn

from imgcls.models.heads import backbone_parameters

# What a layer is made of is looked for in these, and in whatever holds more than this share of the parameters.
CONTAINERS = (nn.Sequential, nn.ModuleList)
TRUNK_SHARE = 0.5


def layer_distances(network: nn.Module) -> dict[int, int]:
    """How far each parameter of the backbone is from the head, in layers.

    timm's networks say themselves what their layers are. Elsewhere a layer is a member of the network's outermost
    sequences, such as a block of a ResNet; norms, positions and tokens between two of them go with the one before.

    Args:
        network: with its head.
    Returns:
        By `id` of the parameter: 1 for the last layer before the head, rising towards the image. timm counts what
        stands between the last block and the head, such as a final norm, to the head: 0.
    Source: Clark et al. 2020 (ELECTRA), Bao et al. 2021 (BEiT); timm's `param_groups_layer_decay`.
    """
    if callable(getattr(network, "group_matcher", None)):
        return _as_timm(network)
    backbone = {id(parameter) for parameter in backbone_parameters(network)}
    total = sum(parameter.numel() for parameter in network.parameters())
    layers: list[list[nn.Parameter]] = []
    waiting: list[nn.Parameter] = []
    for is_layer, unit in _units(network, total):
        found = [parameter for parameter in unit if id(parameter) in backbone]
        if is_layer and any(parameter.ndim > 1 for parameter in found):
            layers.append([*waiting, *found])
            waiting = []
        else:
            (layers[-1] if layers else waiting).extend(found)
    return {id(parameter): len(layers) - index for index, layer in enumerate(layers) for parameter in layer}


def _units(module: nn.Module, total: int) -> Iterator[tuple[bool, list[nn.Parameter]]]:
    """The parameters of each member of the outermost sequences, in order; and, marked False, those between them."""
    yield False, list(module.parameters(recurse=False))
    for child in module.children():
        parameters = list(child.parameters())
        is_trunk = sum(parameter.numel() for parameter in parameters) > TRUNK_SHARE * total
        # A convolution with its norm is a subclass of the sequence, and one layer.
        if type(child) in CONTAINERS or (is_trunk and next(child.children(), None) is not None):
            yield from _units(child, total)
        elif parameters:
            yield True, parameters


def _as_timm(network: nn.Module) -> dict[int, int]:
    from timm.models import group_parameters

    number_of = group_parameters(network, network.group_matcher(coarse=False), reverse=True)  # type: ignore[operator]
    last = max(number_of.values())
    backbone = {id(parameter) for parameter in backbone_parameters(network)}
    return {
        id(parameter): last - number_of[name]
        for name, parameter in network.named_parameters()
        if id(parameter) in backbone
    }
