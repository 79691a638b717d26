"""An ONNX file as a PyTorch module, so that whatever measures a network can measure it too."""

from typing import Any, Self

import torch
from torch import Tensor

from imgcls.models.exported import ExportedNetwork
from imgcls.models.onnx.model import OnnxModel


class OnnxNetwork(ExportedNetwork):
    """Runs the file with onnxruntime; has no parameters and can't be trained.

    Args:
        model: the open file.
    Attributes:
        file: the same; knows where it runs.
    Shapes:
        images_BCHW float (batch, C, H, W), normalised, to logits_BK float (batch, K); see `OnnxModel.logits`.
    """

    def __init__(self, model: OnnxModel) -> None:
        super().__init__(model.path, model.card, sha256=model.sha256, runtime="onnxruntime", device=model.device)
        self.file = model

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        return self.file.describe()

    def on(self, device: str) -> Self:
        """The same file on another device."""
        return type(self)(self.file.on(device))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """What the file answers, on the device of the images."""
        answers_BK = self.file.logits(images_BCHW.contiguous().cpu().numpy())
        return torch.from_numpy(answers_BK).to(images_BCHW.device)
