"""The first answers of a model, before any client waits for them: does it work, and which batches are worth it?"""

import time

import numpy as np
from PIL import Image

from imgcls.inference.decoder import Decoded
from imgcls.inference.open_inputs import OpenImage
from imgcls.inference.predictor import Predictor
from imgcls.outputs.record import ImageRecord

# Times differ by so much from try to try.
LEAST_GAIN = 1.05
# A larger batch is not tried any more, once images take so much longer.
LEAST_LOSS = 1.15
# Spent on finding out; a slow model is ready all the same.
LIMIT_SEC = 2.0
TRIES = 5
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


def find_best_batch(predictor: Predictor, max_batch: int, *, limit_sec: float = LIMIT_SEC) -> int:
    """How many images at once this model classifies fastest here: twice as many, as long as images are no slower.

    On a CPU the gain ends with 4 to 8 images, whose activations its cache holds; on a GPU later or never.

    Args:
        predictor: the model; it has answered before.
        max_batch: the most to try.
        limit_sec: when to stop looking.
    """
    decoded = decoded_check_image(predictor)
    began = time.monotonic()
    sizes = [1]
    while sizes[-1] < max_batch:
        sizes.append(min(sizes[-1] * 2, max_batch))
    per_image_sec: dict[int, float] = {}
    for size in sizes:
        predictor.predict_decoded([decoded] * size)
        per_image_sec[size] = min(_seconds(predictor, decoded, size) for _ in range(TRIES)) / size
        fastest = min(per_image_sec.values())
        is_slower = per_image_sec[size] > fastest * LEAST_LOSS
        if is_slower or time.monotonic() - began > limit_sec:
            break
    # The smallest of those that are as fast: whoever shares a batch waits for all of it.
    return min(size for size, sec in per_image_sec.items() if sec <= fastest * LEAST_GAIN)


def _seconds(predictor: Predictor, decoded: Decoded, size: int) -> float:
    began = time.perf_counter()
    predictor.predict_decoded([decoded] * size)
    return time.perf_counter() - began
