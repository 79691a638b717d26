"""Grad-CAM: the gradient of a class's logit says which channels of a late layer matter, and their maps say where.

Shapes: B batch, C channels, H height, W width, D channels of a layer, h and w places of its maps.
"""

import numpy as np
import torch
from torch import Tensor, nn

from imgcls.evaluation.explanations.activations import LEAST_PLACES, Activation, recorded, with_places
from imgcls.evaluation.explanations.explanation import Explanation, scaled


def grad_cam(network: nn.Module, input_BCHW: Tensor, class_ids_B: list[int]) -> list[Explanation] | None:
    """Explain a class of each image.

    The layer is the last one whose maps the logit depends on. For convolutions each channel is weighted by the mean of
    its gradient (Grad-CAM). Behind attention a gradient belongs to its own token, so that gradient and activation are
    multiplied place by place there (HiResCAM).

    Args:
        network: in eval mode.
        input_BCHW: normalised, on the network's device.
        class_ids_B: for each image the class to explain.
    Returns:
        One for each image; None where the network has no layer that knows places, such as an MLP.
    Source: Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization";
        Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
        networks".
    """
    with torch.inference_mode(False), torch.enable_grad(), recorded(network) as outputs:
        source_BCHW = input_BCHW.clone().requires_grad_(True)
        logits_BK = network(source_BCHW).float()
        total = logits_BK.gather(1, torch.tensor(class_ids_B, device=logits_BK.device)[:, None]).sum()
        known = with_places(outputs, source_BCHW)
        if not known:
            return None
        gradients = torch.autograd.grad(total, [each.value for each in known], allow_unused=True)
        chosen = _last_that_matters(known, gradients)
        if chosen is None:
            return None
        activation, gradient = chosen
        maps_BDhw, slopes_BDhw = (activation.as_maps(each.detach().float()) for each in (activation.value, gradient))
        if activation.kind == "tokens":
            method, seen_Bhw = "HiResCAM", (maps_BDhw * slopes_BDhw).sum(1)
        else:
            weights_BD11 = slopes_BDhw.mean((2, 3), keepdim=True)
            method, seen_Bhw = "Grad-CAM", (weights_BD11 * maps_BDhw).sum(1)
    found_Bhw = seen_Bhw.cpu().numpy().astype(np.float32)
    return [
        Explanation(class_id, scaled(values_hw), f"{method} ({activation.layer})")
        for class_id, values_hw in zip(class_ids_B, found_Bhw, strict=True)
    ]


def _last_that_matters(
    known: list[Activation], gradients: tuple[Tensor | None, ...]
) -> tuple[Activation, Tensor] | None:
    """The last layer with enough places whose gradient isn't zero on them; else the last of any."""
    mattering = [
        (activation, gradient)
        for activation, gradient in zip(known, gradients, strict=True)
        if gradient is not None and bool(activation.as_maps(gradient).any())
    ]
    fine = [pair for pair in mattering if min(pair[0].places) >= LEAST_PLACES]
    return (fine or mattering)[-1] if mattering else None
