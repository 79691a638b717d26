"""Running an exported file that isn't ONNX: `.pt2`, whatever it holds.

Shapes: B batch, H height, W width, C channels (3), K classes.
"""

from pathlib import Path
from typing import Any

import torch

from imgcls.errors import ModelError, UsageError
from imgcls.host.resources import prefer_large_pages
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.inference.backends.backend import LoadedBackend, LoadOptions
from imgcls.inference.backends.torch_backend import probabilities_of
from imgcls.models.answers.calibrated_network import calibrated
from imgcls.models.exported import ExportedNetwork, open_exported


class ExportedBackend:
    """An exported file that is ready to answer; see `Backend`.

    Args:
        network: the file's.
    """

    def __init__(self, network: ExportedNetwork) -> None:
        self.network = network
        self._answering = calibrated(network, network.card.calibration)

    @property
    def id(self) -> str:
        """Name and first digits of the file's SHA-256."""
        return self.network.id

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self.network.card.classes

    @property
    def transform(self) -> Transform:
        """The preprocessing that the model was trained for."""
        return self.network.card.transform

    @property
    def num_threads(self) -> int:
        """Of the CPU, as torch.set_num_threads set them for the calling thread."""
        return torch.get_num_threads() if self.network.device == "cpu" else 1

    def use_threads(self, count: int) -> None:
        """Set them."""
        if self.network.device == "cpu":
            torch.set_num_threads(count)

    def keep_in_memory(self) -> None:
        """Nothing is read from the file any more once it is loaded."""

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        return self.network.describe()

    @torch.inference_mode()
    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Softmax outputs, of multi-label models sigmoid's, float32, shape (batch, K).

        Raises:
            ModelError: an output isn't a number, or the file can't be run.
        """
        images_BCHW = torch.from_numpy(images_BHWC).permute(0, 3, 1, 2).contiguous()
        try:
            logits_BK = self._answering(self.transform.normalise(images_BCHW))
        except RuntimeError as exc:
            raise ModelError(
                f"{self.network.path} can't be run: {str(exc).partition(chr(10))[0]}", hint="export the model again"
            ) from exc
        return probabilities_of(logits_BK, self.id, is_multi_label=self.network.card.multi_label is not None)


def load(model: str, options: LoadOptions) -> LoadedBackend:
    """An exported file as a backend; see `load_backend`."""
    told = (options.labels, options.transform, options.activation, options.output_name)
    if options.weights is not None or any(each is not None for each in told):
        raise UsageError(f"{model} has its own weights, labels and transform", hint="leave out what tells others")
    if options.precision != "fp32" or options.calibrate is not None:
        raise UsageError(f"the precision of {model} is fixed in the file", hint="leave out --precision and --calibrate")
    if options.runtime == "onnx":
        raise UsageError(f"{model} isn't run by ONNX Runtime", hint="leave out --runtime onnx")
    prefer_large_pages()
    network = open_exported(Path(model), allow_code=options.allow_code, device=options.device)
    remark = f"{network.id} on {network.device} ({network.runtime}), from {model}"
    return LoadedBackend(ExportedBackend(network), network.device, remark, runtime=network.runtime)
