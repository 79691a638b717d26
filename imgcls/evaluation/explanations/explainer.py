"""From a model to explanations of what it says.

Shapes: B batch, H height, W width, C channels, K classes.
"""

import contextlib
from collections.abc import Callable, Sequence
from enum import StrEnum

import torch
from torch import nn

from imgcls.errors import UsageError
from imgcls.evaluation.explanations.explanation import Explanation
from imgcls.evaluation.explanations.grad_cam import grad_cam
from imgcls.evaluation.explanations.occlusion import occlusion
from imgcls.images.transform import Floats, Pixels, Transform


class Method(StrEnum):
    """How a class is explained.

    `auto` takes Grad-CAM where the network has layers that know places, else occlusion.
    """

    AUTO = "auto"
    GRAD_CAM = "grad-cam"
    OCCLUSION = "occlusion"


class Explainer:
    """Explains a model's answers; the same image gives the same map.

    Args:
        transform: the model's preprocessing.
        probabilities: the model itself, from images (B, H, W, 3), uint8, to (B, K).
        network: behind it, in eval mode, where it is one that has gradients.
        device: where that is.
        autocast_dtype: reduced precision that its weights have.
        method: see `Method`.
    Raises:
        UsageError: the method needs gradients, and there are none.
    """

    def __init__(
        self,
        transform: Transform,
        probabilities: Callable[[Pixels], Floats],
        *,
        network: nn.Module | None = None,
        device: torch.device | None = None,
        autocast_dtype: torch.dtype | None = None,
        method: Method = Method.AUTO,
    ) -> None:
        if method is Method.GRAD_CAM and network is None:
            raise UsageError("an ONNX file has no gradients for grad-cam", hint="--explain-method occlusion")
        self._transform, self._probabilities = transform, probabilities
        self._network = None if method is Method.OCCLUSION else network
        self._device = device or torch.device("cpu")
        self._dtype, self._method = autocast_dtype, method

    def explain(self, images: Sequence[Pixels], class_ids: Sequence[int]) -> list[Explanation]:
        """Explain a class of each image.

        Args:
            images: as the network sees them, uint8, shape (H, W, 3).
            class_ids: one for each.
        Raises:
            UsageError: Grad-CAM was asked for, and no layer of the network knows places.
        """
        if not images:
            return []
        if self._network is not None:
            images_BCHW = torch.stack([torch.from_numpy(image.transpose(2, 0, 1).copy()) for image in images])
            with self._autocast():
                found = grad_cam(
                    self._network, self._transform.normalise(images_BCHW.to(self._device)), list(class_ids)
                )
            if found is not None:
                return found
            if self._method is Method.GRAD_CAM:
                raise UsageError("no layer of this network keeps positions, which Grad-CAM needs",
                                 hint="--explain-method occlusion")  # fmt: skip
            # It won't have one for the next images either.
            self._network = None
        return [
            occlusion(self._probabilities, image, class_id, self._transform)
            for image, class_id in zip(images, class_ids, strict=True)
        ]

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)
