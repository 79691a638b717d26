"""The first answer of a model, before any client waits for it; and which batches are worth waiting for."""

import numpy as np
from PIL import Image

from imgcls.inference.decoder import Decoded
from imgcls.inference.open_inputs import OpenImage
from imgcls.inference.predictor import Predictor
from imgcls.outputs.record import ImageRecord

# On a CPU larger batches are no faster per image, as their activations leave its cache, and each image waits for all of
# the others. Measured with EfficientNet-Lite0 as ONNX on two cores, ms per image in batches of 1, 2, 4, 8, 16 and 32:
# 4.56, 3.84, 3.26, 3.13, 3.13, 3.29.
CPU_BATCH = 8
SIDE_PX = 256


def check_image() -> Image.Image:
    """An image without much to see, the same every time: colours that change from corner to corner."""
    ramp = np.linspace(0, 255, SIDE_PX, dtype=np.uint8)
    red, green = np.meshgrid(ramp, ramp)
    return Image.fromarray(np.stack([red, green, 255 - red], axis=2))


def decoded_check_image(predictor: Predictor) -> Decoded:
    """That image, as a model takes it."""
    return predictor.decoder.decode(OpenImage("<check>", check_image()))


def classify_check_image(predictor: Predictor) -> ImageRecord:
    """What a model says to it.

    Raises:
        ImgclsError: it can't answer, or not in numbers.
    """
    (record,) = predictor.predict_decoded([decoded_check_image(predictor)])
    return record


def best_batch(device: str, max_batch: int) -> int:
    """How many images at once a model should be given, of those that it may be.

    Args:
        device: where it runs.
        max_batch: the most.
    """
    return min(max_batch, CPU_BATCH) if device == "cpu" else max_batch
