"""Opening an ONNX file with onnxruntime: fast to start, then fast to run.

Shapes: B batch, H height, W width, C channels (3), K classes.
"""

import contextlib
import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgcls.errors import DeviceError, ModelError, UsageError
from imgcls.host.resources import available_cores
from imgcls.images.transform import Floats
from imgcls.models.onnx.answers import Answers, Output
from imgcls.models.onnx.file_bytes import without_weights
from imgcls.models.onnx.graph import INSTALL_HINT
from imgcls.models.onnx.input_options import ImageInput
from imgcls.models.onnx.interruptible import run_graph

if TYPE_CHECKING:
    import onnxruntime

CHANNELS = (1, 3)
# onnxruntime says on stderr what it also raises; only what ends the process is left to it.
SEVERITY_FATAL = 4
# What a message of protobuf can hold.
MOST_IN_MEMORY_BYTES = 2**31 - 2**20
ELEMENT_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


class OnnxSession:
    """A classifier in an ONNX file: one image input, one row of outputs per image.

    Args:
        path: the file.
        device: `auto`, `cpu`, `cuda` or `cuda:1`; also `mps`, where this onnxruntime has Core ML.
        takes_channels_last: what the graph says where the input's shape doesn't.
        prepacks: copy weights into the order that arithmetic takes them in: for float32 that takes longer than it
            saves, for int8 it halves the time of every image.
    Raises:
        ModelError: no ONNX file, damaged, or not an image classifier.
        DeviceError: onnxruntime isn't installed, or has no such device.
    """

    def __init__(
        self, path: Path, *, device: str = "auto", takes_channels_last: bool = False, prepacks: bool = False
    ) -> None:
        self.path = path
        self._prepacks = prepacks
        self._runtime = _import_onnxruntime()
        self.device, self._providers = _choose_provider(device, self._runtime.get_available_providers())
        self._session = self._open()
        try:
            self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
            inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
            self.outputs = tuple(Output(each.name, each.type, tuple(map(_size, each.shape or ()))) for each in outputs)
            self.input = _image_input(inputs, path, takes_channels_last=takes_channels_last)
        except UnicodeDecodeError as exc:
            raise ModelError(f"{path} has names or metadata that are not UTF-8", hint="export the model again") from exc

    def run(self, images: "np.ndarray[Any, Any]", answers: Answers) -> Floats:
        """What the model answers for every image.

        Args:
            images: as `input` describes them, any number of images.
            answers: which output, and how it is read.
        Returns:
            float32, shape (batch, K).
        Raises:
            ModelError: the model can't be run, or answers in another shape.
        """
        images = images.astype(self.input.dtype, copy=False)
        at_once = self.input.batch or len(images)
        rows = [self._run_once(images[start : start + at_once], answers) for start in range(0, len(images), at_once)]
        return rows[0] if len(rows) == 1 else np.concatenate(rows)

    def _run_once(self, images: "np.ndarray[Any, Any]", answers: Answers) -> Floats:
        missing = max((self.input.batch or 0) - len(images), 0)
        if missing:
            images = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        try:
            names, feeds = [answers.output or self.outputs[0].name], {self.input.name: images}
            raw = run_graph(self._session, names, feeds, self._runtime.RunOptions)[0]
        except Exception as exc:
            raise ModelError(f"{self.path} can't be run: {_first_line(exc)}", hint="export the model again") from exc
        try:
            return answers.rows(raw, len(images))[: len(images) - missing]
        except ValueError as exc:
            raise ModelError(f"{self.path} {exc}", hint="use an image classifier's ONNX file") from exc

    def keep_in_memory(self) -> None:
        """Hold the weights apart from the file; not those that the file itself keeps in others."""
        if 0 < self.path.stat().st_size < MOST_IN_MEMORY_BYTES:
            self._session = self._open(self.path.read_bytes())

    def _open(self, content: bytes | None = None) -> "onnxruntime.InferenceSession":
        runtime = self._runtime
        options = runtime.SessionOptions()
        # Always the same graph, or an answer would depend on what came before it. That for faster convolutions costs
        # 4 to 11 ms more for opening and the first image (AlexNet, ResNet-18), and saves 2 to 20 ms of every later one.
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = SEVERITY_FATAL
        options.intra_op_num_threads = available_cores()
        options.add_session_config_entry("session.disable_prepacking", "0" if self._prepacks else "1")
        # The decoding threads need the cores that waiting ones would burn.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        folder = str(self.path.resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
        try:
            # The fallback to other providers prints on stdout, which is for data.
            return runtime.InferenceSession(
                content or self._model(), options, providers=self._providers, enable_fallback=0
            )
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


def _image_input(inputs: Any, path: Path, *, takes_channels_last: bool) -> ImageInput:
    hint = "use an image classifier's ONNX file"
    if len(inputs) != 1:
        raise ModelError(f"{path} takes {len(inputs)} inputs, not one", hint=hint)
    found = inputs[0]
    if found.type not in ELEMENT_TYPES or len(found.shape) != 4:
        raise ModelError(f"{path} takes {found.type} of shape {found.shape}, not images", hint=hint)
    batch, *rest = map(_size, found.shape)
    if rest[0] in CHANNELS or rest[2] in CHANNELS:
        channels_last = rest[0] not in CHANNELS or (rest[2] in CHANNELS and takes_channels_last)
    else:
        channels_last = takes_channels_last
    *size, num_channels = rest if channels_last else (rest[1], rest[2], rest[0])
    if num_channels not in (None, *CHANNELS):
        raise ModelError(f"{path} takes {num_channels} channels, not the 3 of colours or 1 of grey", hint=hint)
    return ImageInput(found.name, ELEMENT_TYPES[found.type], batch, (size[0], size[1]), channels_last, num_channels)


def _size(size: Any) -> int | None:
    return size if isinstance(size, int) and size > 0 else None


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0]
