"""Running an ONNX file; importing this and using it imports neither torch nor torchvision."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imgcls.errors import UsageError
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.inference.backends.backend import LoadedBackend, LoadRequest
from imgcls.models.onnx.answers import Activation
from imgcls.models.onnx.input_options import InputOptions
from imgcls.models.onnx.model import OnnxModel


class OnnxBackend:
    """A classifier in an ONNX file.

    Args:
        path: the file.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        labels: of the outputs, for a file that `imgcls export` didn't write.
        transform: the preprocessing, likewise.
        activation, output_name: as `load_backend` takes them.
    Raises:
        ModelError: no such file, damaged, or no image classifier.
        UsageError: labels or transform are missing, or the file has its own.
        DeviceError: onnxruntime isn't installed, or has no such device.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: str = "auto",
        labels: Sequence[str] | None = None,
        transform: Transform | InputOptions | None = None,
        activation: Activation | None = None,
        output_name: str | None = None,
    ) -> None:
        self.model = OnnxModel(
            path, device=device, labels=labels, transform=transform, activation=activation, output_name=output_name
        )

    @property
    def id(self) -> str:
        """Name and first digits of the file's SHA-256."""
        return self.model.id

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self.model.card.classes

    @property
    def transform(self) -> Transform:
        """The preprocessing that the model was trained for."""
        return self.model.card.transform

    @property
    def device(self) -> str:
        """Where it runs."""
        return self.model.device

    @property
    def num_threads(self) -> int:
        """Onnxruntime has threads of its own; see `Backend`."""
        return 1

    def use_threads(self, count: int) -> None:
        """They stay as they are."""

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        return self.model.describe()

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Probabilities, float32, shape (batch, num_classes); see `Backend`."""
        return self.model.probabilities(images_BHWC)


def load(model: str, request: LoadRequest) -> LoadedBackend:
    """An ONNX file as a backend; see `load_backend`."""
    if request.weights is not None:
        raise UsageError(f"--weights goes with a torchvision architecture; {model} has its own weights")
    if request.precision != "fp32":
        raise UsageError(f"the precision of {model} is fixed in the file", hint="imgcls export has --fp16 and --int8")
    backend = OnnxBackend(
        Path(model),
        device=request.device,
        labels=request.labels,
        transform=request.transform,
        activation=request.activation,
        output_name=request.output_name,
    )
    remark = f"{backend.id} on {backend.device} (onnxruntime), weights from {model}"
    return LoadedBackend(backend, backend.device, remark, backend.model.notes)
