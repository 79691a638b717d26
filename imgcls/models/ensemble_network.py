"""Several models as one network, so that whatever measures a network can measure them too.

Shapes: B batch, C channels (3), H height, W width, K classes.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from imgcls.models.answers.calibrated_network import answering
from imgcls.models.ensembles import (
    NAME,
    How,
    check_members,
    class_orders,
    combined,
    common_geometry,
    common_labels,
    common_thresholds,
    ensemble_sha256,
)
from imgcls.models.loaded_model import LoadedModel

# The smallest number whose logarithm float32 has.
LEAST = float(np.finfo(np.float32).tiny)


class EnsembleNetwork(nn.Module):
    """Answers with the logits of what several models say together.

    Args:
        members: in eval mode.
        orders: where each class of the first stands among those of each.
        how: they answer together.
        is_multi_label: whether images have several labels.
    Shapes:
        images_BCHW float (batch, 3, H, W), in [0, 1], to logits_BK float (batch, K).
    """

    def __init__(
        self, members: Sequence[LoadedModel], orders: Sequence[Sequence[int]], how: How, *, is_multi_label: bool
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList([answering(member) for member in members])
        self._transforms = [member.transform for member in members]
        self._orders, self.how, self._is_multi_label = [list(order) for order in orders], how, is_multi_label

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits whose softmax, or of several labels sigmoid, is the answer; float32."""
        # Each member has its own arithmetic for the same bytes.
        bytes_BCHW = (images_BCHW * 255).round().to(torch.uint8)
        answers = []
        for network, transform, order in zip(self.networks, self._transforms, self._orders, strict=True):
            logits_BK = network(transform.normalise(bytes_BCHW)).float()
            found_BK = logits_BK.sigmoid() if self._is_multi_label else logits_BK.softmax(1)
            answers.append(found_BK[:, order].cpu().numpy())
        found_BK = torch.from_numpy(combined(answers, self.how)).to(images_BCHW.device)
        return found_BK.double().logit(eps=1e-12).float() if self._is_multi_label else found_BK.clamp(min=LEAST).log()


def ensemble_of(models: Sequence[LoadedModel], how: How) -> LoadedModel:
    """Several loaded models as one.

    Args:
        models: of the same classes, in any order, and the same crops.
        how: they answer together.
    Raises:
        UsageError: they don't go together.
    """
    ids = [model.id for model in models]
    check_members(ids)
    several = common_labels(ids, [model.describe() for model in models], how)
    orders = class_orders(ids, [model.classes for model in models])
    transform = common_geometry(ids, [model.transform for model in models])
    labels = common_thresholds([model.multi_label for model in models], orders)
    seen = [model.images for model in models if model.images]
    return replace(
        models[0],
        name=NAME,
        network_name="",
        network=EnsembleNetwork(models, orders, how, is_multi_label=several).eval(),
        # The members' own arithmetic follows in the network.
        transform=replace(transform, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), scale=1, channels="rgb"),
        weights_sha256=ensemble_sha256([model.weights_sha256 for model in models], how),
        # What any of them was trained on says too much of all.
        images={name: torch.cat([each[name] for each in seen]) for name in seen[0]} if seen else {},
        metrics={},
        calibration=None,
        multi_label=labels,
        members=tuple(models),
        ensemble=how,
        remarks=tuple(text for model in models for text in model.remarks),
    )
