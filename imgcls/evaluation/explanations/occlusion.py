"""Occlusion: what covers the evidence for a class takes its probability away. It asks any model, and only asks.

Shapes: B batch, H height, W width, K classes, h and w cells of the map.
"""

from collections.abc import Callable

import numpy as np

from imgcls.evaluation.explanations.explanation import Explanation, scaled
from imgcls.images.transform import Floats, Pixels, Transform

# Cells on a side; a cover hides two by two of them, so that each inner cell is hidden four times.
CELLS = 10
BATCH = 32
# Probabilities below are as good as none, and have no logarithm worth reading.
LEAST = 1e-7


def occlusion(
    probabilities: Callable[[Pixels], Floats], image_HWC: Pixels, class_id: int, transform: Transform
) -> Explanation:
    """Explain a class of one image.

    Each cell's value is how much the logarithm of the class's probability falls when it is covered, as a mean over the
    covers that hide it. Covers have the colour that the network takes for zero.

    Args:
        probabilities: from images (B, H, W, 3), uint8, to (B, K).
        image_HWC: what the network sees, uint8.
        class_id: the class to explain.
        transform: for the colour of the covers.
    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.2.
    """
    height, width = image_HWC.shape[:2]
    rows, columns = (np.linspace(0, side, min(CELLS, side) + 1).round().astype(int) for side in (height, width))
    colour = neutral_colour(transform)
    places = [(top, left) for top in range(max(len(rows) - 2, 1)) for left in range(max(len(columns) - 2, 1))]
    covered = [image_HWC]
    for top, left in places:
        image = image_HWC.copy()
        image[
            rows[top] : rows[min(top + 2, len(rows) - 1)], columns[left] : columns[min(left + 2, len(columns) - 1)]
        ] = colour
        covered.append(image)
    answers = np.concatenate(
        [
            probabilities(np.stack(covered[start : start + BATCH]))[:, class_id]
            for start in range(0, len(covered), BATCH)
        ]
    )
    falls = np.log(max(float(answers[0]), LEAST)) - np.log(np.maximum(answers[1:], LEAST))
    sums_hw = np.zeros((len(rows) - 1, len(columns) - 1))
    counts_hw = np.zeros_like(sums_hw)
    for (top, left), fall in zip(places, falls, strict=True):
        sums_hw[top : top + 2, left : left + 2] += fall
        counts_hw[top : top + 2, left : left + 2] += 1
    return Explanation(class_id, scaled((sums_hw / counts_hw).astype(np.float32)), f"occlusion ({len(places)} covers)")


def neutral_colour(transform: Transform) -> Pixels:
    """The bytes, red, green and blue, that a transform's arithmetic turns into zeros."""
    mean = np.asarray(transform.mean, dtype=np.float64) * (255 / transform.scale)
    if transform.channels == "bgr":
        mean = mean[::-1]
    return np.broadcast_to(mean.round().clip(0, 255).astype(np.uint8), (3,))
