"""An ONNX file as a PyTorch module, so that whatever measures a network can measure it too."""

import torch
from torch import Tensor, nn

from imgcls.models.onnx.model import OnnxModel


class OnnxNetwork(nn.Module):
    """Runs the file with onnxruntime; has no parameters and can't be trained.

    Args:
        model: the open file.
    Attributes:
        file: the same; knows where it runs.
    Shapes:
        images_BCHW float (batch, C, H, W), normalised, to logits_BK float (batch, K); see `OnnxModel.logits`.
    """

    def __init__(self, model: OnnxModel) -> None:
        super().__init__()
        self.file = model

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """What the file answers, on the device of the images."""
        answers_BK = self.file.logits(images_BCHW.contiguous().cpu().numpy())
        return torch.from_numpy(answers_BK).to(images_BCHW.device)
