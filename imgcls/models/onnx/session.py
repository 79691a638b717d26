"""Opening an ONNX file with onnxruntime: fast to start, then fast to run.

Shapes: B batch, H height, W width, C channels (3), K classes.
"""

import contextlib
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imgcls.errors import DeviceError, ModelError, UsageError
from imgcls.host.resources import available_cores
from imgcls.images.transform import Floats
from imgcls.models.onnx.file_bytes import without_weights

if TYPE_CHECKING:
    import onnxruntime

INSTALL_HINT = "pip install 'imgcls[onnx]'"
# After so many images the time to rearrange the weights for faster convolutions has been worth it.
IMAGES_BEFORE_LAYOUT = 64
# onnxruntime says on stderr what it also raises; only what ends the process is left to it.
SEVERITY_FATAL = 4
ELEMENT_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


class ImageInput(NamedTuple):
    """What a model takes.

    Attributes:
        name: of the input.
        dtype: float32, float16, or uint8 for plain pixels.
        batch: how many images at once, None for any number.
        size_px: height and width, None where it takes any.
        channels_last: whether the input is BHWC instead of BCHW.
    """

    name: str
    dtype: type[np.generic]
    batch: int | None
    size_px: tuple[int | None, int | None]
    channels_last: bool


class OnnxSession:
    """A classifier in an ONNX file: one image input, one row of outputs an image.

    Args:
        path: the file.
        device: `auto`, `cpu`, `cuda` or `cuda:1`; also `mps`, where this onnxruntime has Core ML.
    Raises:
        ModelError: no ONNX file, damaged, or not an image classifier.
        DeviceError: onnxruntime isn't installed, or has no such device.
    """

    def __init__(self, path: Path, *, device: str = "auto") -> None:
        self.path = path
        self._runtime = _import_onnxruntime()
        self.device, self._providers = _choose_provider(device, self._runtime.get_available_providers())
        self._num_images = 0
        self._session = self._open(rearrange=self.device != "cpu")
        self._rearranged = self.device != "cpu"
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.input = _image_input(self._session.get_inputs(), path)
        outputs = self._session.get_outputs()
        self._output: str = outputs[0].name
        shape = outputs[0].shape
        num = shape[-1] if len(shape) == 2 else None
        self.num_outputs: int | None = num if isinstance(num, int) else None

    def run(self, images: "np.ndarray[Any, Any]") -> Floats:
        """The first output of every image.

        Args:
            images: as `input` describes them, any number of images.
        Returns:
            float32, shape (batch, K).
        Raises:
            ModelError: the model can't be run, or answers in another shape.
        """
        if not self._rearranged and self._num_images >= IMAGES_BEFORE_LAYOUT:
            self._session, self._rearranged = self._open(rearrange=True), True
        self._num_images += len(images)
        images = images.astype(self.input.dtype, copy=False)
        at_once = self.input.batch or len(images)
        rows = [self._run_once(images[start : start + at_once]) for start in range(0, len(images), at_once)]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def _run_once(self, images: "np.ndarray[Any, Any]") -> Floats:
        missing = (self.input.batch or 0) - len(images)
        if missing > 0:
            images = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        try:
            output = self._session.run([self._output], {self.input.name: images})[0]
        except Exception as exc:
            raise ModelError(f"{self.path} can't be run: {_first_line(exc)}", hint="export the model again") from exc
        answers: Floats = np.asarray(output).astype(np.float32, copy=False)
        if answers.ndim != 2 or len(answers) != len(images):
            raise ModelError(
                f"{self.path} answers in shape {answers.shape}, not one row an image",
                hint="use an image classifier's ONNX file",
            )
        return answers[: len(images) - max(missing, 0)]

    def _open(self, *, rearrange: bool) -> "onnxruntime.InferenceSession":
        runtime = self._runtime
        options = runtime.SessionOptions()
        level = runtime.GraphOptimizationLevel
        options.graph_optimization_level = level.ORT_ENABLE_ALL if rearrange else level.ORT_ENABLE_EXTENDED
        options.log_severity_level = SEVERITY_FATAL
        options.intra_op_num_threads = available_cores()
        # Copying all weights into another order takes longer than it saves.
        options.add_session_config_entry("session.disable_prepacking", "1")
        # The decoding threads need the cores that waiting ones would burn.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        folder = str(self.path.resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        try:
            return runtime.InferenceSession(self._model(), options, providers=self._providers)
        except Exception as exc:
            raise ModelError(
                f"{self.path} can't be read: {_first_line(exc)}", hint="use an ONNX file, or export the model again"
            ) from exc

    def _model(self) -> bytes | str:
        path = self.path.resolve()
        with (
            contextlib.suppress(ValueError),
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            return without_weights(mapped, path.name)
        # Not a message that we can read: let onnxruntime say what is wrong with it.
        return str(path)


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as exc:
        raise DeviceError(f"ONNX files need onnxruntime, which can't be imported: {exc}", hint=INSTALL_HINT) from exc
    return onnxruntime


def _choose_provider(device: str, available: list[str]) -> tuple[str, list[Any]]:
    """The device's name and onnxruntime's providers for it."""
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps", "xpu") or (index and not index.isdecimal()):
        raise UsageError(f"unknown device {device!r}", hint="use auto, cpu, cuda, cuda:1, mps or xpu")
    cpu = "CPUExecutionProvider"
    cuda = "CUDAExecutionProvider"
    if kind == "cpu" or (kind == "auto" and cuda not in available):
        return "cpu", [cpu]
    if kind in ("auto", "cuda") and cuda in available:
        return f"cuda:{index or 0}", [(cuda, {"device_id": int(index or 0)}), cpu]
    if kind == "mps" and "CoreMLExecutionProvider" in available:
        return "mps", ["CoreMLExecutionProvider", cpu]
    raise DeviceError(
        f"this onnxruntime can't use {device!r}; it has {', '.join(available)}",
        hint="pip install onnxruntime-gpu" if kind == "cuda" else "use --device cpu",
    )


def _image_input(inputs: Any, path: Path) -> ImageInput:
    hint = "use an image classifier's ONNX file"
    if len(inputs) != 1:
        raise ModelError(f"{path} takes {len(inputs)} inputs, not one", hint=hint)
    found = inputs[0]
    if found.type not in ELEMENT_TYPES or len(found.shape) != 4:
        raise ModelError(f"{path} takes {found.type} of shape {found.shape}, not images", hint=hint)
    batch, *rest = (size if isinstance(size, int) and size > 0 else None for size in found.shape)
    channels_last = rest[0] != 3 and rest[2] == 3
    if not channels_last and rest[0] not in (3, None):
        raise ModelError(f"{path} takes {rest[0]} channels, not the 3 of RGB", hint=hint)
    size = (rest[0], rest[1]) if channels_last else (rest[1], rest[2])
    return ImageInput(found.name, ELEMENT_TYPES[found.type], batch, size, channels_last)


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0]
