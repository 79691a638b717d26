"""Whether an exported file answers as the model did, and how fast.

Shapes: N images, H height, W width, C channels (3), K classes.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from imgcls.errors import ModelError
from imgcls.images.transform import Floats, Pixels
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.onnx.answers import sigmoid, softmax

# Beyond this a probability that people read with four digits could show the difference.
MOST_DIFFERENCE = 1e-4
# Near-uniform probabilities would hide any difference, so the outputs themselves are compared too, against their size.
MOST_RELATIVE_DIFFERENCE = 1e-3
BATCH_SIZE = 32
TIMED_RUNS = 15

# From bytes (N, crop, crop, 3) to outputs before softmax (N, K).
Outputs = Callable[[Pixels], Floats]


@dataclass(frozen=True, slots=True)
class Parity:
    """How a file's answers compare with the model's on the same images.

    Attributes:
        num_images: how many were compared.
        top1: share of them with the same most probable class, in [0, 1].
        largest_difference: of any probability of any image.
        largest_relative_difference: of any output before softmax, over the largest output.
    """

    num_images: int
    top1: float
    largest_difference: float
    largest_relative_difference: float

    def check(self, what: str) -> None:
        """Refuse what a float32 file must not do.

        Raises:
            ModelError: the answers differ.
        """
        if not self.largest_difference <= MOST_DIFFERENCE:
            raise ModelError(
                f"{what} answers differently: probabilities differ by up to {self.largest_difference:.2g}, "
                f"more than {MOST_DIFFERENCE:g}; it was not kept",
                hint="export in the other format (--to onnx, --to torch-export), and report it",
            )
        if not self.largest_relative_difference <= MOST_RELATIVE_DIFFERENCE:
            raise ModelError(
                f"{what} answers differently: outputs differ by up to {self.largest_relative_difference:.2g} of the "
                f"largest, more than {MOST_RELATIVE_DIFFERENCE:g}; it was not kept",
                hint="export in the other format (--to onnx, --to torch-export), and report it",
            )


def outputs_of(model: LoadedModel) -> Outputs:
    """The model's own answers, on the CPU."""

    @torch.inference_mode()
    def run(images_NHWC: Pixels) -> Floats:
        images_NCHW = torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).contiguous()
        outputs: Floats = model.network(model.transform.normalise(images_NCHW)).float().numpy()
        return outputs

    return run


def in_batches(outputs: Outputs, images_NHWC: Pixels) -> Floats:
    """Answers for any number of images."""
    starts = range(0, len(images_NHWC), BATCH_SIZE)
    return np.concatenate([outputs(images_NHWC[start : start + BATCH_SIZE]) for start in starts])


def compare(expected_NK: Floats, found_NK: Floats, *, is_multi_label: bool = False) -> Parity:
    """Compare outputs before softmax, or before the sigmoid where images have several labels.

    Raises:
        ModelError: an output isn't a number.
    """
    if not np.isfinite(expected_NK).all():
        raise ModelError("the model answers with values that are not numbers", hint="its weights are damaged")
    if not np.isfinite(found_NK).all():
        raise ModelError(
            "the exported file answers with values that are not numbers; it was not kept",
            hint="its numbers are too large for this precision: export without --fp16",
        )
    activate = sigmoid if is_multi_label else softmax
    size = max(float(np.abs(expected_NK).max()), 1e-6)
    return Parity(
        num_images=len(expected_NK),
        top1=float((expected_NK.argmax(1) == found_NK.argmax(1)).mean()),
        largest_difference=float(np.abs(activate(expected_NK) - activate(found_NK)).max()),
        largest_relative_difference=float(np.abs(expected_NK - found_NK).max()) / size,
    )


def median_ms(runs: Mapping[str, Outputs], images_NHWC: Pixels) -> dict[str, float]:
    """Milliseconds for one image, each in its turn so that a busy machine is unfair to none; medians."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(TIMED_RUNS):
        index = turn % len(images_NHWC)
        for name, run in runs.items():
            start = time.perf_counter()
            run(images_NHWC[index : index + 1])
            seconds[name].append(time.perf_counter() - start)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}
