"""A network whose logits are calibrated."""

import torch
from torch import Tensor, nn

from imgcls.models.answers.calibration import Calibration
from imgcls.models.loaded_model import LoadedModel


class CalibratedNetwork(nn.Module):
    """A network with its calibration behind it.

    Args:
        network: any; its outputs are logits.
        calibration: what is done to them.
    """

    def __init__(self, network: nn.Module, calibration: Calibration) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale", torch.tensor(calibration.scale))
        self.register_buffer("offset", torch.tensor(calibration.offset or (0.0,)))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Calibrated logits, float32, one row per image."""
        logits_BK: Tensor = self.network(images_BCHW).float() * self.scale + self.offset
        return logits_BK


def calibrated(network: nn.Module, calibration: Calibration | None) -> nn.Module:
    """A network with its calibration behind it, where it has one."""
    return network if calibration is None else CalibratedNetwork(network, calibration)


def answering(model: LoadedModel) -> nn.Module:
    """The network as it answers: calibrated, where the model is."""
    return calibrated(model.network, model.calibration)
