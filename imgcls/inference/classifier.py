"""Classifying images from Python."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgcls.errors import ImageError
from imgcls.images.decoding import decode_image, to_rgb, upright
from imgcls.images.sources import iterate_sources
from imgcls.images.transform import Transform
from imgcls.inference.backends.backend import Backend, top_classes
from imgcls.inference.backends.loading import load_backend
from imgcls.inference.pipeline import StreamSettings, classify_stream
from imgcls.models.registry import DEFAULT_MODEL
from imgcls.outputs.record import ImageRecord, Prediction

if TYPE_CHECKING:
    from PIL.Image import Image

    from imgcls.inference.precision import Precision

    ImageInput = str | Path | bytes | Image | np.ndarray[Any, np.dtype[np.uint8]]


class Classifier:
    """A model that is ready to classify; `load_classifier` makes one.

    Args:
        backend: the model.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the network's outputs."""
        return self._backend.classes

    @property
    def id(self) -> str:
        """Name and first 12 digits of the weights' SHA-256."""
        return self._backend.id

    def predict(self, image: "ImageInput", *, top_k: int = 5) -> ImageRecord:
        """Classify one image.

        Args:
            image: a path, an encoded image's bytes, a Pillow image, or uint8 pixels of shape (H, W, 3) or (H, W).
            top_k: how many classes to name.
        Raises:
            ImageError: it can't be read; `kind` and `message` say why.
        """
        name, decoded = _load(image)
        pixels_BHWC = np.stack([self._backend.transform.crop(decoded)])
        probabilities_K = self._backend.probabilities(pixels_BHWC)[0]
        return ImageRecord(
            input=name,
            model=self._backend.id,
            predictions=tuple(
                Prediction(index, self.classes[index], float(probabilities_K[index]))
                for index in top_classes(probabilities_K, top_k)
            ),
            width=decoded.width,
            height=decoded.height,
        )

    def predict_many(
        self, inputs: Iterable[str | Path], *, top_k: int = 5, batch_size: int = 32, num_threads: int | None = None
    ) -> Iterator[ImageRecord]:
        """Classify files, folders, patterns and URLs; one record an input, in order, also for those that fail.

        Args:
            inputs: what the command line takes, except `-`.
            top_k: how many classes to name.
            batch_size: images that the network sees at once.
            num_threads: that decode; None for one a core.
        """
        settings = StreamSettings(top_k=top_k, batch_size=batch_size, num_threads=num_threads)
        for record in classify_stream(iterate_sources(str(item) for item in inputs), self._backend, settings):
            assert isinstance(record, ImageRecord)
            yield record

    def __repr__(self) -> str:
        """Model and number of classes."""
        return f"Classifier({self.id}, {len(self.classes)} classes)"


def load_classifier(
    model: str | Path = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: "Precision" = "fp32",
    labels: Sequence[str] | None = None,
    transform: Transform | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> Classifier:
    """Load a model to classify with.

    Args:
        model: a checkpoint, a run folder, an `.onnx` file, a bundled name (`cifar10-cnn`) or a torchvision classifier's
            name.
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
    loaded = load_backend(
        str(model),
        weights=Path(weights) if weights else None,
        device=device,
        precision=precision,
        labels=labels,
        transform=transform,
        progress=progress,
    )
    return Classifier(loaded.backend)


def _load(image: "ImageInput") -> "tuple[str, Image]":
    if isinstance(image, (str, Path)):
        return str(image), decode_image(Path(image)).image
    if isinstance(image, bytes):
        return "<bytes>", decode_image(image).image
    if isinstance(image, np.ndarray):
        from PIL import Image

        if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
            raise ImageError(
                "not_an_image", f"pixels must be uint8 (H, W, 3) or (H, W), not {image.dtype} {image.shape}"
            )
        return "<array>", Image.fromarray(image).convert("RGB")
    return getattr(image, "filename", "") or "<image>", to_rgb(upright(image))
