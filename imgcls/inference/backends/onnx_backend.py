"""Running an ONNX file; importing this and using it imports neither torch nor torchvision."""

from pathlib import Path

from imgcls.errors import UsageError
from imgcls.images.transform import Transform
from imgcls.inference.backends.backend import LoadedBackend, LoadOptions
from imgcls.models.onnx.model import OnnxModel


class OnnxBackend(OnnxModel):
    """A classifier in an ONNX file, as `Backend` has it; opened as `OnnxModel`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self.card.classes

    @property
    def transform(self) -> Transform:
        """The preprocessing that the model was trained for."""
        return self.card.transform

    @property
    def num_threads(self) -> int:
        """Onnxruntime has threads of its own; see `Backend`."""
        return 1

    def use_threads(self, count: int) -> None:
        """They stay as they are."""


def load(model: str, options: LoadOptions) -> LoadedBackend:
    """An ONNX file as a backend; see `load_backend`."""
    if options.weights is not None:
        raise UsageError(f"--weights goes with a torchvision architecture; {model} has its own weights")
    if options.precision != "fp32":
        raise UsageError(f"the precision of {model} is fixed in the file", hint="imgcls export has --fp16 and --int8")
    backend = OnnxBackend(
        Path(model),
        device=options.device,
        labels=options.labels,
        transform=options.transform,
        activation=options.activation,
        output_name=options.output_name,
    )
    remark = f"{backend.id} on {backend.device} (onnxruntime), weights from {model}"
    return LoadedBackend(backend, backend.device, remark, backend.notes)
