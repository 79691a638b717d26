"""The network at the start of a run: built, its first weights drawn from the seed, and placed on the device."""

import torch
from torch import nn

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.networks.cnn import CNN
from imgcls.models.weights.initial_weights import Origin, Start
from imgcls.recipes.schema import Recipe
from imgcls.training.rng import forked_rng, seed_for

# As many as the filters need to come out the same, nearly, whichever images are drawn.
WHITENING_IMAGES = 5000
# At a time: all patches of an image in float64 take some 30 times its bytes.
WHITENING_BATCH = 100


def build_for_training(
    recipe: Recipe,
    images: LabelledImages,
    *,
    transform: Transform,
    device: torch.device,
    start: Start | None = None,
) -> tuple[nn.Module, Origin | None]:
    """A network with the weights that it begins with, or else those that the recipe's seed gives it, on the device.

    Args:
        recipe: resolved.
        images: the training images; a first layer may be computed from them.
        transform: its arithmetic turns bytes into the network's input.
        device: where the network goes.
        start: weights that were trained before; None for random ones.
    Returns:
        The network, and where its weights came from.
    """
    with forked_rng(device):
        torch.manual_seed(seed_for(recipe.train.seed, "weights"))
        if start is not None:
            network, origin = start.network_for(images.classes)
            return placed(network, recipe, device), origin
        network = build_network(recipe.model.name, num_classes=len(images.classes), arguments=recipe.model.arguments)
        if isinstance(network, CNN):
            _whiten(network, images, transform)
    return placed(network, recipe, device), None


def placed(network: nn.Module, recipe: Recipe, device: torch.device) -> nn.Module:
    """The same network on the device, in the memory layout that the recipe asks for."""
    network.to(device)
    if recipe.train.channels_last:
        network.to(memory_format=torch.channels_last)
    return network


def _whiten(network: CNN, images: LabelledImages, transform: Transform) -> None:
    order_N = torch.randperm(len(images))[:WHITENING_IMAGES]
    batches = images.batches(order_N, batch_size=WHITENING_BATCH, device=torch.device("cpu"))
    network.whiten(transform.normalise(batch.images_BCHW) for batch in batches if len(batch.labels_B))
