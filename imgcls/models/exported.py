"""A network that lives in an exported file and is run by that file's runtime, as a PyTorch module.

A new kind of file is a class after `ExportedNetwork`, a function `open_exported(path, allow_code=..., device=...)` that
gives one, and its suffix in `registry.EXPORTED`.

Shapes: B batch, H height, W width, C channels (1 or 3), K classes.
"""

from importlib import import_module
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from imgcls.models.model_card import ModelCard
from imgcls.models.pixel_input import normalised_to_pixels, on_canvas
from imgcls.models.registry import EXPORTED

# What an exported file needs said where it can be neither trained nor exported again.
ORIGIN_HINT = "name the checkpoint or the model that it came from"


class ExportedNetwork(nn.Module):
    """Whatever measures a network can measure this; it has no parameters and can't be trained.

    Args:
        path: the file.
        card: what the file says of itself.
        sha256: of the file.
        runtime: what runs it, as records and manifests name it, such as `aoti`.
        device: where it runs.
    Shapes:
        images_BCHW float (batch, C, H, W), normalised, to logits_BK float (batch, K).
    """

    def __init__(self, path: Path, card: ModelCard, *, sha256: str, runtime: str, device: str = "cpu") -> None:
        super().__init__()
        self.path, self.card, self.sha256 = path, card, sha256
        self.runtime, self.device = runtime, device

    @property
    def id(self) -> str:
        """Name and first digits of the file's SHA-256."""
        return f"{self.card.name}@{self.sha256[:12]}"

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        card = self.card
        return {
            "id": self.id,
            "name": card.name,
            "weights_sha256": self.sha256,
            "num_classes": len(card.classes),
            "transform": card.transform.to_dict(),
            "runtime": self.runtime,
            "precision": card.precision,
            "exported_from": card.weights_sha256,
            **({"weights_revision": card.weights_revision} if card.weights_revision else {}),
            **({"calibration": card.calibration.describe()} if card.calibration else {}),
            **(card.multi_label.describe() if card.multi_label else {}),
        }

    def on(self, device: str) -> Self:
        """The same file on another device.

        Raises:
            DeviceError: its runtime has no such device.
        """
        raise NotImplementedError

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """What the file answers, on the device of the images."""
        raise NotImplementedError


def canvases(card: ModelCard, images_BCHW: Tensor) -> Tensor:
    """Normalised images as what a graph takes that holds its transform; see `pixel_input`."""
    pixels_BHWC = normalised_to_pixels(card.transform, images_BCHW.cpu().numpy())
    return torch.from_numpy(on_canvas(card.transform, pixels_BHWC)).to(images_BCHW.device)


def is_exported(spec: str | Path) -> bool:
    """Whether `--model` names a file of such a kind (ONNX files are told by `is_onnx`), there or not."""
    return Path(spec).suffix.lower() in EXPORTED


def open_exported(path: Path, *, allow_code: bool = False, device: str = "auto") -> ExportedNetwork:
    """The network in an exported file, whatever kind its suffix says.

    Args:
        path: the file.
        allow_code: whether a file that loading gives control of this process may be loaded.
        device: where it shall run.
    Raises:
        ModelError: the file is damaged, is not of ours, can't run on this machine, or may not run code.
        DeviceError: its runtime isn't installed, or has no such device.
    """
    module = import_module(EXPORTED[path.suffix.lower()])
    network: ExportedNetwork = module.open_exported(path, allow_code=allow_code, device=device)
    return network
