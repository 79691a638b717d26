"""A network's head, the last layer with one output a class, and its backbone, all before it.

Shapes: B batch, C channels (3), H height, W width, K classes; features have whatever shape the head takes.
"""

from collections.abc import Iterator

from torch import Tensor, nn

from imgcls.models.networks.cnn import CNN


def head_name(network: nn.Module) -> str:
    """The path of the head among the network's modules, such as `fc` or `classifier.6`.

    It is the last module with a weight, in ours and in every classifier of torchvision's; a test holds them to it.
    """
    named = getattr(network, "pretrained_cfg", {}).get("classifier")
    if named:
        # timm's networks say it; those that were distilled have two, of which the first is the head.
        return str(named if isinstance(named, str) else named[0])
    with_weight: list[str] = [
        name for name, module in network.named_modules() if isinstance(getattr(module, "weight", 0), Tensor)
    ]
    return with_weight[-1]


def head_of(network: nn.Module) -> nn.Linear | nn.Conv2d:
    """The head itself.

    Raises:
        TypeError: it is neither a linear layer nor a convolution, which is a defect of ours.
    """
    head = network.get_submodule(head_name(network))
    if not isinstance(head, (nn.Linear, nn.Conv2d)):
        raise TypeError(f"the head of {type(network).__name__} is a {type(head).__name__}")
    return head


def num_outputs(network: nn.Module) -> int:
    """How many classes the head tells apart."""
    head = head_of(network)
    return head.out_features if isinstance(head, nn.Linear) else head.out_channels


def backbone_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """All parameters but the head's."""
    head = {id(parameter) for parameter in network.get_submodule(head_name(network)).parameters()}
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
    """Rearrange the head's outputs.

    Args:
        network: its head's parameters are replaced.
        rows: for each output to be, the one that it was.
    """
    head = head_of(network)
    for name, parameter in list(head.named_parameters()):
        setattr(head, name, nn.Parameter(parameter.detach()[rows].clone()))


class FeatureRecorder:
    """Runs a network and gives what reaches its head.

    Args:
        network: stays as it is; in eval mode, where the features are those of the image alone.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._features: Tensor | None = None

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """The features of normalised images."""
        handle = head_of(self._network).register_forward_pre_hook(self._keep)
        try:
            self._network(images_BCHW)
        finally:
            handle.remove()
        features, self._features = self._features, None
        if features is None:
            raise AssertionError("the head never ran")
        return features

    def _keep(self, _module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._features = arguments[0]


class HeadNetwork(nn.Module):
    """A network from its head on: features in, logits out, with the same parameters.

    Args:
        network: one of ours or of torchvision's.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.head: nn.Module = head_of(network)
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
