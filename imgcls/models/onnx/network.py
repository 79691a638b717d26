"""An ONNX file as a PyTorch module, so that whatever measures a network can measure it too."""

from pathlib import Path

import torch
from torch import Tensor, nn

from imgcls.errors import UsageError
from imgcls.models.onnx.model import OnnxModel


class OnnxNetwork(nn.Module):
    """Runs the file with onnxruntime; has no parameters and can't be trained.

    Args:
        model: the open file.
    Attributes:
        file: the same; knows where it runs.
    Shapes:
        images_BCHW float (batch, 3, H, W), normalised, to logits_BK float (batch, K).
    """

    def __init__(self, model: OnnxModel) -> None:
        super().__init__()
        self.file = model

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """What the file answers, on the device of the images."""
        answers_BK = self.file.run_normalised(images_BCHW.contiguous().cpu().numpy())
        return torch.from_numpy(answers_BK).to(images_BCHW.device)


def _foreign(path: Path) -> UsageError:
    return UsageError(
        f"{path} was not written by imgcls export, and only predict takes such a file",
        hint=f"imgcls predict -m {path} --labels FILE --preset imagenet",
    )


def open_onnx_network(path: Path, *, device: str = "auto") -> tuple[OnnxModel, OnnxNetwork]:
    """An exported file, with what it says of itself, and as a module.

    Args:
        path: written by `imgcls export`.
        device: where onnxruntime runs it.
    Raises:
        ModelError: no such file, damaged, or no image classifier.
        UsageError: another tool wrote it.
    """
    try:
        model = OnnxModel(path, device=device)
    except UsageError as exc:
        raise _foreign(path) from exc
    if model.is_foreign:
        raise _foreign(path)
    return model, OnnxNetwork(model)
