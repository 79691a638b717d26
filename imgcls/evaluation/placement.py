"""By what a model is run while it is measured: PyTorch or onnxruntime, and on which device."""

from dataclasses import replace

import torch

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.images.transform import Pixels, Transform
from imgcls.models.exported import ExportedNetwork
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.onnx.network import OnnxNetwork
from imgcls.twins.runtime import TwinRequest, find_twin, make_wanted_twin
from imgcls.twins.upcoming import COMPARED


def taking_truncated(model: LoadedModel, accepts_truncated: bool | None) -> LoadedModel:
    """A model that takes JPEGs without their last bytes, or doesn't; None leaves it as it was trained."""
    if accepts_truncated is None:
        return model
    return replace(model, transform=replace(model.transform, accepts_truncated=accepts_truncated))


def placed(model: LoadedModel, request: str, device: torch.device) -> tuple[LoadedModel, torch.device]:
    """A model where it will run, and where its batches have to be.

    An exported file is run by its own runtime: on the CPU, or on the accelerator that it is for or that was asked for.

    Args:
        model: as `load_model` gives it.
        request: what the user asked for, such as `auto`.
        device: what that means for PyTorch.
    Raises:
        DeviceError: its runtime can't use the device.
    """
    network = model.network
    if not isinstance(network, ExportedNetwork):
        return model, device
    if request != "auto" and torch.device(network.device) != device:
        network = network.on(str(device))
    # Whatever its runtime takes to the accelerator comes from here.
    return replace(model, network=network), torch.device("cpu")


class UpcomingImages:
    """Labelled images as what is to be answered; see `imgcls.twins.upcoming.Upcoming`.

    Args:
        images: opened with the model's own transform.
    """

    def __init__(self, images: LabelledImages) -> None:
        self._images = images

    def are_at_least(self, count: int) -> bool:
        """By their number."""
        return len(self._images) >= count

    def first_pixels(self, transform: Transform) -> list[Pixels]:
        """The first few, those that can be read."""
        order = torch.arange(min(COMPARED, len(self._images)))
        batches = self._images.batches(order, batch_size=COMPARED, device=torch.device("cpu"))
        return [
            image_HWC.numpy() for batch in batches for image_HWC in batch.images_BCHW.permute(0, 2, 3, 1).contiguous()
        ]


def with_twin(model: LoadedModel, request: TwinRequest) -> LoadedModel:
    """The same model answered by its ONNX twin, where the request and the amount of work are for it.

    Args:
        model: on its way to the CPU, or an exported file, which stays as it is.
        request: of the same model; its `device` is where the model is going to run.
    Raises:
        ImgclsError: `onnx` was asked for, and there is no way.
    """
    if isinstance(model.network, ExportedNetwork):
        return model
    found = find_twin(request)
    if found.twin is None:
        found = make_wanted_twin(request, model, found)
    for note in found.notes:
        request.on_step(note)
    return model if found.twin is None else replace(model, network=OnnxNetwork(found.twin))
