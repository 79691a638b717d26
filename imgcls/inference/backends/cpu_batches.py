"""How many images a network takes at once on a CPU."""

import threading
from typing import Any

import torch
from torch import Tensor, nn

# More gain nothing where layers write much: what they write no longer fits into any cache.
USUAL = 16
# Networks like AlexNet read hundreds of MiB of weights for each call, and write little: many images share the reading.
MOST = 64
MOST_WRITTEN_BYTES = 64 * 2**20


@torch.inference_mode()
def images_at_once(network: nn.Module, image_1CHW: Tensor) -> int:
    """Run one image, and tell by what its layers read and write how many to run at once.

    Args:
        network: on the CPU, in evaluation mode; other threads may run it meanwhile.
        image_1CHW: as the network takes it, one image.
    """
    thread = threading.get_ident()
    written_bytes = dense_weight_bytes = 0

    def note(layer: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        nonlocal written_bytes, dense_weight_bytes
        if threading.get_ident() != thread or not isinstance(output, Tensor):
            return
        written_bytes = max(written_bytes, output.numel() * output.element_size())
        # A layer that sees one vector an image multiplies each weight once; one over positions uses it many times.
        if isinstance(layer, nn.Linear) and output.numel() == layer.out_features:
            dense_weight_bytes += layer.weight.numel() * layer.weight.element_size()

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if not any(layer.children())]
    try:
        network(image_1CHW)
    finally:
        for hook in hooks:
            hook.remove()
    fits = MOST * written_bytes <= MOST_WRITTEN_BYTES
    return MOST if fits and dense_weight_bytes > USUAL * written_bytes else USUAL
