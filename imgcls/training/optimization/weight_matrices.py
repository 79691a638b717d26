"""Which parameters are weights of layers: what weight decay and Muon are meant for."""

from torch import Tensor, nn

# torchvision's names of what timm's networks list in `no_weight_decay`: ViT's token and positions, Swin's tables, logit
# scales and the small network of its positions; ConvNeXt's layer scale, which has but one dimension in timm.
NO_DECAY = {
    "class_token",
    "pos_embedding",
    "layer_scale",
    "relative_position_bias_table",
    "logit_scale",
    "cpb_mlp",
}


def weight_matrices(network: nn.Module) -> list[nn.Parameter]:
    """The weights of layers, which weight decay and Muon are meant for, in the order of the network.

    Neither norms and biases, nor what has two dimensions for other reasons: a layer scale, a class token, position
    embeddings and tables of relative positions.

    Source: timm's `param_groups_weight_decay` and each network's `no_weight_decay`, whose answer networks of timm give.
    """
    excluded = {
        f"{prefix}.{name}".removeprefix(".")
        for prefix, module in network.named_modules()
        if callable(listed := getattr(module, "no_weight_decay", None))
        for name in listed()
    }
    return [
        parameter
        for name, parameter in network.named_parameters()
        if parameter.ndim >= 2
        and name not in excluded
        and not any(part in NO_DECAY or part == "bias" for part in name.split("."))
    ]


def as_matrix(parameter: nn.Parameter) -> nn.Parameter:
    """A parameter of two dimensions over the same memory, as Muon takes no other: one row an output channel.

    The order of the columns doesn't matter to Muon, whose update commutes with permuting them.
    """
    matrix = flattened(parameter.detach(), like=parameter)
    if matrix.data_ptr() != parameter.data_ptr():
        raise AssertionError("flattening copied the weights: neither contiguous nor channels_last")
    return nn.Parameter(matrix)


def flattened(values: Tensor, *, like: Tensor) -> Tensor:
    """Everything but the first dimension as one, in the order in which `like` lies in memory."""
    if like.ndim == 4 and not like.is_contiguous():
        values = values.permute(0, 2, 3, 1)
    return values.reshape(values.shape[0], -1)
