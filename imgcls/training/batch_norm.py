"""Batch norm's running statistics, measured on training images where a run is too short for them to settle.

They follow the batches slowly (momentum 0.1), so that after 20 steps an eighth of them is what the layer began with,
and they lag behind weights that still move fast: training looks well, and validation is no better than guessing.

Source: Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm", section 3 (precise batch norm).
"""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.images.transform import Transform
from imgcls.training.rng import generator_for

# After so many steps 0.9 ** 200 = 7e-10 of the first values is left, and steps are small against the memory of ten.
SETTLED_STEPS = 200
# At most so many training images are looked at.
MAX_IMAGES = 1024
# Large images have more places to measure at and cost more: 1,024 of 64 px, 128 of 224 px, where the last layers of a
# ResNet still see 6,000 places.
MAX_PIXELS, MIN_IMAGES = 1024 * 64 * 64, 128


def batch_norms(network: nn.Module) -> list[_BatchNorm]:
    """The layers with running statistics."""
    return [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.running_mean is not None]


def num_measured(transform: Transform) -> int:
    """How many images of the network's input size are looked at, at most."""
    height, width = transform.size_px
    return min(max(MAX_PIXELS // (height * width), MIN_IMAGES), MAX_IMAGES)


@torch.no_grad()
def measure_statistics(
    network: nn.Module,
    images: LabelledImages,
    *,
    transform: Transform,
    device: torch.device,
    batch_size: int,
    seed: int,
) -> None:
    """Set the running statistics to their mean over batches of training images, for the weights as they are.

    The same images in the same order each time, without augmentation or dropout, so that no generator moves and a
    resumed run measures the same.

    Args:
        network: on the device; is in the mode that it was in afterwards. Without batch norm nothing happens.
        images: the training images.
        transform: its arithmetic turns bytes into the network's input.
        device: where the network is.
        batch_size: as in training, whose batches the layers are to expect; 1 leaves all as it is.
        seed: of the choice of images.
    """
    layers = batch_norms(network)
    order_N = torch.randperm(len(images), generator=generator_for(seed, "statistics"))[: num_measured(transform)]
    if len(order_N) > batch_size:
        # A smaller last batch would count as much as the others.
        order_N = order_N[: len(order_N) // batch_size * batch_size]
    if not layers or min(len(order_N), batch_size) < 2:
        return
    was_training = network.training
    kept = [(layer.momentum, layer.num_batches_tracked) for layer in layers]
    network.eval()
    batches = (batch for batch in images.batches(order_N, batch_size=batch_size, device=device))
    first = next((batch for batch in batches if len(batch.labels_B) > 1), None)
    if first is not None:
        for layer in layers:
            layer.num_batches_tracked = torch.zeros_like(layer.num_batches_tracked)  # type: ignore[arg-type]
            layer.reset_running_stats()
            # Without a momentum all batches count the same.
            layer.momentum = None
            layer.train()
        network(transform.normalise(first.images_BCHW))
        for batch in batches:
            if len(batch.labels_B) > 1:
                network(transform.normalise(batch.images_BCHW))
    for layer, (momentum, tracked) in zip(layers, kept, strict=True):
        layer.momentum, layer.num_batches_tracked = momentum, tracked
    network.train(was_training)
