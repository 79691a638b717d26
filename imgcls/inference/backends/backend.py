"""What runs a model: the protocol that each backend implements, and loading whatever `--model` names as one.

A new backend is one file beside this one, with a function `load(model, options)`, and its suffix in `MODULE_OF_SUFFIX`.

Shapes: B batch, H height, W width, C channels (3), K classes.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from imgcls.errors import DeviceError
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.models.registry import EXPORTED
from imgcls.twins.runtime import Runtime

if TYPE_CHECKING:
    from imgcls.images.inputs.source import Source
    from imgcls.models.onnx.answers import Activation
    from imgcls.models.onnx.input_options import InputOptions

Precision = Literal["fp32", "bf16", "fp16", "int8"]
# Which file runs a model file of this suffix; whatever else `--model` names is for PyTorch, or for its ONNX twin.
MODULE_OF_SUFFIX = {".onnx": "onnx_backend", **dict.fromkeys(EXPORTED, "exported_backend")}
DEFAULT_MODULE = "twin_backend"


class DeviceMemoryError(DeviceError):
    """The device's memory doesn't hold a batch; a smaller one may fit."""


class Backend(Protocol):
    """A model that is ready to run: pixels in, probabilities out. `Predictor` does the rest.

    `probabilities` and `use_threads` are called by several threads at the same time. An answer depends on its image and
    on the model alone, not on what was asked before.

    Attributes:
        id: name and first digits of the weights' SHA-256.
        classes: labels in the order of the outputs.
        transform: whose geometry the pixels have.
        num_threads: of the CPU that the calling thread's batches may use; 1 where the work is done elsewhere.
    """

    @property
    def id(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def transform(self) -> Transform: ...

    @property
    def num_threads(self) -> int: ...

    def use_threads(self, count: int) -> None:
        """Let the batches that the calling thread answers from now on use so many threads of the CPU."""

    def keep_in_memory(self) -> None:
        """Hold the weights apart from their file: a model is read as it is needed, and whoever writes another over it
        would change this one, or end the process."""

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Classify a batch.

        Args:
            images_BHWC: uint8, shape (batch, crop, crop, 3).
        Returns:
            Softmax outputs, float32, shape (batch, K); where `describe` tells `multi_label`, sigmoid's.
        Raises:
            DeviceMemoryError: the batch doesn't fit.
            ModelError: an output isn't a number.
        """


class LoadedBackend(NamedTuple):
    """A model that is ready.

    Attributes:
        backend: what classifies.
        device: where it runs.
        remark: model, device and file, for a person who asks.
        notes: what was chosen for a person who didn't say it, one sentence each.
        runtime: what runs it, such as `torch` or `onnxruntime`.
    """

    backend: Backend
    device: str
    remark: str
    notes: tuple[str, ...] = ()
    runtime: str = "torch"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is to be loaded; `load_classifier` says what most of these mean.

    Attributes:
        upcoming: gives the images that are to come, anew each time: they decide whether an ONNX twin is worth making,
            and the first few check it; None where nobody knows them.
        on_step: told, in a sentence, of what takes seconds.
    """

    weights: Path | None = None
    device: str = "auto"
    precision: Precision = "fp32"
    labels: Sequence[str] | None = None
    transform: "Transform | InputOptions | None" = None
    progress: Callable[[int, int | None], None] | None = None
    activation: "Activation | None" = None
    output_name: str | None = None
    ema: bool = False
    runtime: Runtime = "auto"
    calibrate: Path | None = None
    allow_code: bool = False
    upcoming: "Callable[[], Iterable[Source]] | None" = None
    on_step: Callable[[str], None] = lambda _step: None


def load_backend(model: str, options: LoadOptions | None = None) -> LoadedBackend:
    """Load a model to classify with.

    Args:
        model: a checkpoint, a run folder, an `.onnx` or `.pt2` file, a bundled name or the name of a network.
        options: how; None takes the defaults.
    Raises:
        ModelError: no such model, or its weights are missing, damaged or can't be downloaded.
        DeviceError: the device isn't there or has no such arithmetic, or onnxruntime isn't installed.
        UsageError: options that don't go with this kind of model.
    """
    name = MODULE_OF_SUFFIX.get(Path(model).suffix.lower(), DEFAULT_MODULE)
    loaded: LoadedBackend = import_module(f"imgcls.inference.backends.{name}").load(model, options or LoadOptions())
    return loaded
