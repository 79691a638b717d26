"""Running an ONNX file; importing this and using it imports neither torch nor torchvision."""

from pathlib import Path

from imgcls.errors import UsageError
from imgcls.inference.backends.backend import LoadedBackend, LoadOptions
from imgcls.models.onnx.model import OnnxModel


def load(model: str, options: LoadOptions) -> LoadedBackend:
    """An ONNX file as a backend; see `load_backend`."""
    if options.weights is not None:
        raise UsageError(f"--weights goes with a torchvision architecture; {model} has its own weights")
    if options.runtime == "torch":
        raise UsageError(f"{model} is run by onnxruntime, not by PyTorch", hint="leave out --runtime torch")
    if options.precision != "fp32":
        raise UsageError(f"the precision of {model} is fixed in the file", hint="imgcls export has --fp16 and --int8")
    backend = OnnxModel(
        Path(model),
        device=options.device,
        labels=options.labels,
        transform=options.transform,
        activation=options.activation,
        output_name=options.output_name,
    )
    remark = f"{backend.id} on {backend.device} (onnxruntime), weights from {model}"
    return LoadedBackend(backend, backend.device, remark, backend.notes, "onnxruntime")
