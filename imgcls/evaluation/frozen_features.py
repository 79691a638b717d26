"""What a frozen network trained on ImageNet makes of images, for checks of data that no network was trained on yet.

Shapes: B batch, H height, W width, F features.
"""

from dataclasses import replace

import numpy as np
import torch

from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.models.families.efficientnet_lite import weights_path
from imgcls.models.heads import FeatureRecorder
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.loading import load_model

BACKBONE = "efficientnet-lite0"
# Smaller than it was trained on, and twice as fast: what copies and wrong labels need is there.
SIDE_PX = 160


class FrozenFeatures:
    """Images to features; see `datasets.checks.scan.Embed`.

    Args:
        model: its head is left out.
        device: where it runs.
    """

    def __init__(self, model: LoadedModel, device: torch.device) -> None:
        self.model = model
        # Nothing of the image is cut off: copies may differ at the border.
        self.transform: Transform = replace(model.transform, resize="squash", resize_px=SIDE_PX, crop_px=SIDE_PX)
        self._device = device
        network = model.network.to(device).to(memory_format=torch.channels_last)
        self._features = FeatureRecorder(network)

    @torch.inference_mode()
    def __call__(self, images_BHWC: Pixels) -> Floats:
        """Features of a batch, float32, shape (batch, F)."""
        images_BCHW = torch.from_numpy(images_BHWC).to(self._device).permute(0, 3, 1, 2)
        features_BF = self._features(self.transform.normalise(images_BCHW))
        found: Floats = features_BF.flatten(1).float().cpu().numpy()
        return np.ascontiguousarray(found)


def load_frozen_features(device: torch.device) -> FrozenFeatures | None:
    """The backbone that needs no download; None where its weights are not installed.

    Raises:
        ModelError: they are damaged.
    """
    return FrozenFeatures(load_model(BACKBONE), device) if weights_path().is_file() else None
