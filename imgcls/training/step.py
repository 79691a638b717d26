"""The arithmetic of one training step: forward, loss, backward, clipping, and the optimiser's move.

Shapes: B batch, C channels (3), H height, W width, K classes.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

from imgcls.training.config import OptimSettings
from imgcls.training.optim import Optimisers
from imgcls.training.precision import Precision


class TrainingStep:
    """Moves the weights by one batch; what isn't asked for costs nothing, since it is left out here.

    Args:
        forward: the network, or what runs it (compiled, or spread over devices).
        optimisers: hold the weights that move.
        settings: the recipe's [optim].
        device: where the network is.
        precision: of forward and backward pass.
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        optimisers: Optimisers,
        settings: OptimSettings,
        *,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.forward, self.optimisers = forward, optimisers
        self._label_smoothing, self._grad_clip = settings.label_smoothing, settings.grad_clip
        self._autocast = torch.autocast(
            device.type, dtype=precision.autocast_dtype, enabled=precision.autocast_dtype is not None
        )

    def __call__(self, input_BCHW: Tensor, labels_B: Tensor) -> Tensor:
        """Make the step, at the rate that is set.

        Args:
            input_BCHW: normalised pictures.
            labels_B: class indices, int64.
        Returns:
            The batch's mean loss, detached, on the device.
        """
        with self._autocast:
            logits_BK = self.forward(input_BCHW)
        loss = F.cross_entropy(logits_BK.float(), labels_B, label_smoothing=self._label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._grad_clip:
            nn.utils.clip_grad_norm_(self.optimisers.parameters, self._grad_clip)
        self.optimisers.step()
        return loss.detach()
