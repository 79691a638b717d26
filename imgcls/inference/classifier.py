"""Classifying images from Python."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgcls.errors import UsageError
from imgcls.host.terminal_text import counted
from imgcls.images.inputs.sources import iterate_sources
from imgcls.images.inputs.stdin import STDIN
from imgcls.images.thumbnails import THUMBNAIL_PX
from imgcls.images.transform import Transform
from imgcls.inference.backends.backend import Backend, LoadOptions, Precision, load_backend
from imgcls.inference.pipeline import StreamSettings, classify_stream
from imgcls.inference.predictor import Predictor
from imgcls.inference.settings import PredictSettings
from imgcls.models.registry import DEFAULT_MODEL
from imgcls.outputs.record import ImageRecord
from imgcls.twins.runtime import Runtime

if TYPE_CHECKING:
    from imgcls.inference.open_inputs import ImageInput
    from imgcls.models.onnx.answers import Activation
    from imgcls.models.onnx.input_options import InputOptions


class Classifier:
    """A model that is ready to classify; `load_classifier` makes one. Several threads may use it at the same time.

    Args:
        backend: the model; `Predictor(classifier.backend, settings)` shares it with other settings.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        # A notebook shows the image beside its record.
        self._predictor = Predictor(backend, PredictSettings(thumbnail_px=THUMBNAIL_PX))

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the network's outputs."""
        return self.backend.classes

    @property
    def id(self) -> str:
        """Name and first 12 digits of the weights' SHA-256."""
        return self.backend.id

    def predict(self, image: "ImageInput", *, top_k: int = 5) -> ImageRecord:
        """Classify one image.

        Args:
            image: a path, an encoded image's bytes, a Pillow image, or uint8 pixels of shape (H, W, 3) or (H, W).
            top_k: how many classes to name.
        Raises:
            ImageError: it can't be read; `kind` and `message` say why.
            TypeError: it is no image; the message names what to call.
            UsageError: top_k is out of range.
        """
        return self._predictor.predict_one(image, top_k=top_k)

    def predict_batch(self, images: "Sequence[ImageInput]", *, top_k: int = 5) -> list[ImageRecord]:
        """Classify a list of images; one record per image, in order, also for those that fail.

        Args:
            images: each as `predict` takes it, of any kind.
            top_k: how many classes to name.
        Raises:
            TypeError: it is no list, or holds something that is no image.
            UsageError: top_k is out of range.
        """
        return self._predictor.predict_batch(images, top_k=top_k)

    def predict_many(
        self, inputs: Iterable[str | Path], *, top_k: int = 5, batch_size: int = 32, num_threads: int | None = None
    ) -> Iterator[ImageRecord]:
        """Classify files, folders, patterns and URLs as they come; one record per input, in order, also for failures.

        Args:
            inputs: what the command line takes, except `-`.
            top_k: how many classes to name.
            batch_size: images that the network sees at once.
            num_threads: that decode; None for one per core.
        Raises:
            TypeError: one name instead of several, or something that is no name.
            UsageError: a number is out of range, or a name is `-`.
        """
        if isinstance(inputs, (str, bytes, os.PathLike)):
            raise TypeError("predict_many takes several names, such as a list of paths; call predict for one image")
        settings = StreamSettings(top_k=top_k, batch_size=batch_size, num_threads=num_threads)
        return self._stream(inputs, settings)

    def _stream(self, inputs: Iterable[str | Path], settings: StreamSettings) -> Iterator[ImageRecord]:
        for record in classify_stream(iterate_sources(map(_name_of, inputs)), self.backend, settings):
            assert isinstance(record, ImageRecord)
            yield record

    def __repr__(self) -> str:
        """Model and number of classes."""
        return f"Classifier({self.id}, {counted(len(self.classes), 'class', plural='classes')})"


def _name_of(item: object) -> str:
    if not isinstance(item, (str, Path)):
        raise TypeError(
            f"predict_many takes names of files, folders and URLs, not {type(item).__name__}; call predict_batch"
        )
    if str(item) == STDIN:
        raise UsageError("predict_many doesn't read stdin", hint="classifier.predict(sys.stdin.buffer.read())")
    return str(item)


def load_classifier(
    model: str | Path = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "fp32",
    labels: Sequence[str] | None = None,
    transform: "Transform | InputOptions | None" = None,
    progress: Callable[[int, int | None], None] | None = None,
    activation: "Activation | None" = None,
    output_name: str | None = None,
    ema: bool = False,
    runtime: Runtime = "auto",
    calibrate: str | Path | None = None,
    allow_code: bool = False,
) -> Classifier:
    """Load a model to classify with.

    Args:
        model: a checkpoint, a run folder, an `.onnx` or `.pt2` file, a bundled name (`cifar10-cnn`) or a network's.
        weights: a state_dict in any of the usual wrappings, for a named network.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps` or `xpu`.
        precision: `fp32`; or `bf16` or `fp16` where the device has it, or `int8` on a CPU: faster, and the answers
            shift.
        labels: of the outputs of `weights`, or of an ONNX file that `imgcls export` didn't write.
        transform: the preprocessing of such a file.
        progress: called with bytes so far and in all while weights are downloaded.
        activation: `softmax`, `sigmoid` or `none`: what turns the outputs of such a file into probabilities, where its
            graph doesn't show it.
        output_name: which of its outputs to read.
        ema: take the exponential moving average that the file of `weights` holds.
        runtime: `torch`; `onnx` for the model's ONNX twin, made now if need be and checked against the network; `auto`
            for the twin on a CPU where the cache has one (`imgcls models --fetch NAME` makes it).
        calibrate: a folder of typical images, which shape an int8 twin and judge it; the next calls find it made.
        allow_code: load a `.pt2` file, which runs code that is in it: only one whose writer you trust.
    Raises:
        ModelError: no such model, or its weights are missing, damaged or can't be downloaded.
        DeviceError: the device isn't there or has no such arithmetic, or onnxruntime isn't installed.
        UsageError: options that don't go with this kind of model.
    """
    options = LoadOptions(
        weights=Path(weights) if weights else None,
        device=device,
        precision=precision,
        labels=labels,
        transform=transform,
        progress=progress,
        activation=activation,
        output_name=output_name,
        ema=ema,
        runtime=runtime,
        calibrate=Path(calibrate) if calibrate is not None else None,
        allow_code=allow_code,
    )
    return Classifier(load_backend(str(model), options).backend)
