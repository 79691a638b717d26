"""Whatever `--model` names, as a backend; imports only what that kind of model needs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imgcls.errors import UsageError
from imgcls.images.transform import Transform
from imgcls.inference.backends.backend import Backend
from imgcls.models.onnx.model import is_onnx

if TYPE_CHECKING:
    from imgcls.inference.precision import Precision


class LoadedBackend(NamedTuple):
    """A model that is ready.

    Attributes:
        backend: what classifies.
        device: where it runs.
        remark: model, device and file, for a person who asks.
    """

    backend: Backend
    device: str
    remark: str


def load_backend(
    model: str,
    *,
    weights: Path | None = None,
    device: str = "auto",
    precision: "Precision" = "fp32",
    labels: Sequence[str] | None = None,
    transform: Transform | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> LoadedBackend:
    """Load a model to classify with.

    Args:
        model: a checkpoint, a run folder, an `.onnx` file, a bundled name or a torchvision classifier's name.
        weights: a plain state_dict for a torchvision architecture.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps` or `xpu`.
        precision: `fp32`; or `bf16` or `fp16` where the device has it: faster, and the answers shift a little.
        labels: of the outputs of an ONNX file that `imgcls export` didn't write.
        transform: the preprocessing of such a file.
        progress: called with bytes so far and in all while weights are downloaded.
    Raises:
        ModelError: no such model, or its weights are missing, damaged or can't be downloaded.
        DeviceError: the device isn't there or has no such arithmetic, or onnxruntime isn't installed.
        UsageError: arguments that don't go with this kind of model.
    """
    if is_onnx(model):
        from imgcls.inference.backends.onnx_backend import OnnxBackend

        if weights is not None:
            raise UsageError(f"--weights goes with a torchvision architecture; {model} has its own weights")
        if precision != "fp32":
            raise UsageError(
                f"the precision of {model} is fixed in the file", hint="imgcls export has --fp16 and --int8"
            )
        onnx = OnnxBackend(Path(model), device=device, labels=labels, transform=transform)
        return LoadedBackend(onnx, onnx.device, f"{onnx.id} on {onnx.device} (onnxruntime), weights from {model}")
    if labels is not None or transform is not None:
        raise UsageError(
            f"labels and transform are told for ONNX files only; {model!r} has its own",
            hint="leave out --labels, --preset, --mean, --std and --size",
        )
    from imgcls.host.devices import choose_device
    from imgcls.inference.backends.torch_backend import TorchBackend
    from imgcls.models.loading import load_model

    choice = choose_device(device)
    loaded = load_model(model, weights=weights, progress=progress)
    remark = f"{loaded.id} on {choice.device} ({choice.reason}), weights from {loaded.weights_path}"
    return LoadedBackend(TorchBackend(loaded, choice.device, precision), str(choice.device), remark)
