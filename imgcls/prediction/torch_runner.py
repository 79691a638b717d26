"""Running a PyTorch network."""

from typing import Any

import torch

from imgcls.core.transforms import Floats, Pixels, Transform
from imgcls.errors import ModelError
from imgcls.models.catalog import LoadedModel


class TorchRunner:
    """A loaded model on a device.

    Args:
        model: as `load_model` returns it; its network is moved.
        device: where it runs.
    """

    def __init__(self, model: LoadedModel, device: torch.device) -> None:
        self.model = model
        self.device = device
        # Pixels arrive as rows of RGB triples; kept so, convolutions on the CPU run about twice as fast.
        self._network = model.network.to(device).to(memory_format=torch.channels_last)

    @property
    def id(self) -> str:
        """Name and first digits of the weights' SHA-256."""
        return self.model.id

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self.model.classes

    @property
    def transform(self) -> Transform:
        """The preprocessing that the model was trained for."""
        return self.model.transform

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        return self.model.describe()

    @torch.inference_mode()
    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Softmax outputs, float32, shape (batch, num_classes); see `Runner`.

        Raises:
            ModelError: an output isn't a number.
        """
        images_BCHW = torch.from_numpy(images_BHWC).to(self.device).permute(0, 3, 1, 2)
        probabilities_BK = self._network(self.transform.normalise(images_BCHW)).float().softmax(dim=1)
        if not bool(probabilities_BK.isfinite().all()):
            raise ModelError(
                f"{self.id} answers with values that are not numbers", hint="its weights are damaged; use another model"
            )
        result: Floats = probabilities_BK.cpu().numpy()
        return result
