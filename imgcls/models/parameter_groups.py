"""What an optimizer wants to know of a network's parameters: which take no weight decay."""

from torch import nn

# Learned scales, tokens and tables of positions, by the last part of their names: torchvision's, and timm's where a
# network doesn't say it itself.
NOT_DECAYED = (
    "layer_scale",
    "class_token",
    "cls_token",
    "pos_embedding",
    "pos_embed",
    "relative_position_bias_table",
    "logit_scale",
)


def no_weight_decay_names(network: nn.Module) -> frozenset[str]:
    """The parameters that weight decay (and Muon) must leave alone, by name.

    Norms, biases and everything else of one dimension; learned scales, tokens and tables of positions, which have more;
    and whatever a network of timm names itself.

    Source: timm.optim.param_groups_weight_decay, and `no_weight_decay` of timm's networks.
    """
    said = getattr(network, "no_weight_decay", None)
    named = set(said()) if callable(said) else set()
    return frozenset(
        name
        for name, parameter in network.named_parameters()
        if parameter.ndim <= 1 or name in named or name.rpartition(".")[2] in NOT_DECAYED
    )
