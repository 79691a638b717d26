"""A network's head, the last layer with one output a class, and its backbone, all before it.

Shapes: B batch, C channels (3), H height, W width, K classes; features have whatever shape the head takes.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from imgcls.models.networks.cnn import CNN


def head_name(network: nn.Module) -> str:
    """The path of the head among the network's modules, such as `fc` or `classifier.6`; of several, the first."""
    return head_names(network)[0]


def head_names(network: nn.Module) -> tuple[str, ...]:
    """The paths of all heads: networks that were distilled have two, and answer with the mean of both.

    The head is the last module with a weight, in ours and in every classifier of torchvision's; a test holds them to
    it. timm's networks say what theirs are.
    """
    named = getattr(network, "pretrained_cfg", {}).get("classifier")
    if named:
        names = (named,) if isinstance(named, str) else tuple(map(str, named))
        # A distilled network's configuration may be that of weights for the same network without its second head.
        return tuple(name for name in names if _has(network, name))
    with_weight: list[str] = [
        name for name, module in network.named_modules() if isinstance(getattr(module, "weight", 0), Tensor)
    ]
    return (with_weight[-1],)


def _has(network: nn.Module, name: str) -> bool:
    try:
        network.get_submodule(name)
    except AttributeError:
        return False
    return True


def head_of(network: nn.Module) -> nn.Linear | nn.Conv2d:
    """The head itself; of several, the first.

    Raises:
        TypeError: it is neither a linear layer nor a convolution, which is a defect of ours.
    """
    return heads_of(network)[0]


def heads_of(network: nn.Module) -> list[nn.Linear | nn.Conv2d]:
    """All heads; see `head_of`."""
    heads: list[nn.Linear | nn.Conv2d] = []
    for name in head_names(network):
        head = network.get_submodule(name)
        if not isinstance(head, (nn.Linear, nn.Conv2d)):
            raise TypeError(f"the head of {type(network).__name__} is a {type(head).__name__}")
        heads.append(head)
    return heads


def num_outputs(network: nn.Module) -> int:
    """How many classes the head tells apart."""
    head = head_of(network)
    return head.out_features if isinstance(head, nn.Linear) else head.out_channels


def backbone_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """All parameters but the heads'."""
    head = {id(parameter) for head in heads_of(network) for parameter in head.parameters()}
    return (parameter for parameter in network.parameters() if id(parameter) not in head)


def replace_head(network: nn.Module, num_classes: int) -> None:
    """Put an untrained head for other classes in the place of the network's.

    Its weights are drawn from torch's global generator, as torch initialises such a layer.
    """
    if callable(reset := getattr(network, "reset_classifier", None)):
        # timm's own way.
        reset(num_classes)
        return
    path = head_name(network)
    old = head_of(network)
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
    else:
        new = nn.Conv2d(old.in_channels, num_classes, kernel_size=old.kernel_size, bias=old.bias is not None)  # type: ignore[arg-type]
    parent, _, name = path.rpartition(".")
    network.get_submodule(parent).register_module(name, new)


def reorder_head(network: nn.Module, rows: list[int]) -> None:
    """Rearrange the outputs of the head, or of all heads.

    Args:
        network: its head's parameters are replaced.
        rows: for each output to be, the one that it was.
    """
    for head in heads_of(network):
        for name, parameter in list(head.named_parameters()):
            setattr(head, name, nn.Parameter(parameter.detach()[rows].clone()))


class FeatureRecorder:
    """Runs a network and gives what reaches its head; of several heads, what reaches each, in a dimension after B.

    Args:
        network: stays as it is; in eval mode, where the features are those of the image alone.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._features: list[Tensor] = []

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """The features of normalised images."""
        heads = heads_of(self._network)
        handles = [head.register_forward_pre_hook(self._keep) for head in heads]
        try:
            self._network(images_BCHW)
        finally:
            for handle in handles:
                handle.remove()
        features, self._features = self._features, []
        if len(features) != len(heads):
            raise AssertionError(f"{len(features)} of {len(heads)} heads ran")
        return features[0] if len(heads) == 1 else torch.stack(features, dim=1)

    def _keep(self, _module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._features.append(arguments[0])


class MeanOfHeads(nn.Module):
    """The heads of a distilled network, each with features of its own: the mean of their logits, as timm takes it.

    Args:
        heads: in the order in which they run.
    """

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, features: Tensor) -> Tensor:
        """Logits, one row an image; features have the head as their second dimension."""
        logits = [head(features[:, index]) for index, head in enumerate(self.heads)]
        return torch.stack(logits).mean(0)


class HeadNetwork(nn.Module):
    """A network from its head on: features in, logits out, with the same parameters.

    Args:
        network: of any family.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.head: nn.Module = head_of(network)
        if len(heads := heads_of(network)) > 1:
            self.head = MeanOfHeads(heads)
        # A bound method, so that the backbone isn't registered here.
        self._answer = network.classify if isinstance(network, CNN) else None
        if isinstance(self.head, nn.Conv2d):
            # SqueezeNets pool what their head says of every place: there the rest of its block belongs to the answer.
            block = network.get_submodule(head_name(network).rpartition(".")[0])
            self.head = nn.Sequential(*list(block.children())[1:], nn.Flatten())

    def forward(self, features: Tensor) -> Tensor:
        """Logits, one row an image."""
        logits_BK: Tensor = self._answer(features) if self._answer is not None else self.head(features)
        return logits_BK
