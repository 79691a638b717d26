"""torchvision's classifiers: which there are, how they are built, where their weights and transforms come from."""

import re
from typing import Any

from torch import nn

from imgcls.errors import ModelError
from imgcls.images.transform import Transform
from imgcls.models.entries import ALEXNET, PretrainedEntry
from imgcls.models.networks import alexnet

# What torchvision's own builders change when they load the default weights; without, the state_dict doesn't fit.
PRETRAINED_ARGUMENTS: dict[str, dict[str, Any]] = {
    "googlenet": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "aux_logits": True, "init_weights": False},
    "vit_h_14": {"image_size": 518},
}
# The published DenseNets are older than torch's rule against dots in the names of modules.
DENSENET_OLD_NAME = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")


def pretrained_names() -> list[str]:
    """Every torchvision classifier, sorted; imports torchvision."""
    import torchvision.models

    return sorted(torchvision.models.list_models(module=torchvision.models))


def is_pretrained_name(name: str) -> bool:
    """Whether torchvision has a classifier of that name."""
    return name == ALEXNET.name or name in pretrained_names()


def pretrained_entry(name: str, weights_name: str = "") -> PretrainedEntry:
    """The catalogue's entry for a classifier's weights.

    Args:
        name: one of `pretrained_names()`.
        weights_name: as torchvision names them, such as `IMAGENET1K_V1`; empty for the network's default ones.
    Raises:
        ModelError: torchvision has no such classifier, or no such weights of it.
    """
    if name == ALEXNET.name and weights_name in ("", ALEXNET.weights_name):
        return ALEXNET
    return catalogue_entry(name, weights_name)


def catalogue_entry(name: str, weights_name: str = "") -> PretrainedEntry:
    """Like `pretrained_entry`, always from torchvision itself."""
    import torchvision.models

    # torchvision's own look-up also finds detectors, segmenters and quantised networks.
    if name not in pretrained_names():
        raise ModelError(f"unknown model {name!r}", hint="imgcls models lists the names")
    published = torchvision.models.get_model_weights(name)
    if weights_name and weights_name not in published.__members__:
        raise ModelError(
            f"{name!r} has no weights called {weights_name!r}",
            hint=f"there are: {', '.join(published.__members__)}",
        )
    weights = published[weights_name] if weights_name else published.DEFAULT
    preset = weights.transforms()
    metrics = weights.meta["_metrics"]["ImageNet-1K"]
    return PretrainedEntry(
        name=name,
        url=weights.url,
        transform=Transform(
            resize_px=preset.resize_size[0],
            crop_px=preset.crop_size[0],
            mean=tuple(preset.mean),
            std=tuple(preset.std),
            interpolation=preset.interpolation.value,
        ),
        num_params=weights.meta["num_params"],
        size_mib=weights.meta["_file_size"],
        top1=metrics["acc@1"] / 100,
        top5=metrics["acc@5"] / 100,
        weights_name=weights.name,
    )


def build_pretrained(name: str, *, num_classes: int = 1000, **arguments: Any) -> nn.Module:
    """An untrained network of torchvision's, on the current default device (`meta` costs no time).

    Args:
        name: one of `pretrained_names()`.
        num_classes: outputs of the last layer.
        arguments: of torchvision's builder.
    Raises:
        ModelError: torchvision has no such classifier, or it doesn't take the arguments.
    """
    if name == ALEXNET.name:
        return alexnet.AlexNet(num_classes, **arguments)
    import torchvision.models

    if name not in pretrained_names():
        raise ModelError(f"unknown model {name!r}", hint="imgcls models lists the names")
    arguments = {**PRETRAINED_ARGUMENTS.get(name, {}), **arguments}
    try:
        network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=num_classes, **arguments)
    except (TypeError, ValueError, AssertionError) as exc:
        said = str(exc).partition("\n")[0]
        raise ModelError(f"can't build {name!r}: {said}", hint="imgcls models lists the names") from exc
    return network


def current_name(name: str) -> str:
    """What torchvision now calls a tensor of a published file.

    Source: torchvision.models.densenet, where the file is loaded.
    """
    old = DENSENET_OLD_NAME.fullmatch(name)
    return old[1] + old[2] if old else name


def drop_auxiliary_heads(network: nn.Module) -> nn.Module:
    """Take off the training-only outputs of GoogLeNet and Inception v3, as torchvision does after loading weights."""
    if getattr(network, "aux_logits", False):
        network.aux_logits = False  # type: ignore[assignment]
        for head in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, head):
                setattr(network, head, None)
    return network
