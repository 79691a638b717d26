"""A classifier in an ONNX file, with what its answers mean; imports neither torch nor torchvision.

Shapes: B batch, H height, W width, C channels (1 or 3), K classes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from imgcls.errors import ModelError, UsageError
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.models.model_card import ModelCard
from imgcls.models.onnx.answers import OWN_ANSWERS, OWN_MULTI_LABEL_ANSWERS, Activation
from imgcls.models.onnx.foreign import Told, read_foreign
from imgcls.models.onnx.graph import read_graph
from imgcls.models.onnx.identity import checked_sha256, is_as_written, sha256_with_weights
from imgcls.models.onnx.input_options import InputOptions
from imgcls.models.onnx.session import OnnxSession
from imgcls.models.pixel_input import normalised_to_pixels, on_canvas

CARD_KEY = "imgcls"
SUFFIX = ".onnx"


def is_onnx(spec: str | Path) -> bool:
    """Whether `--model` names an ONNX file, there or not."""
    return Path(spec).suffix.lower() == SUFFIX


class OnnxModel:
    """A classifier in an ONNX file: one that `imgcls export` wrote, or any other with labels and transform told.

    Args:
        path: the file.
        device: `auto`, `cpu`, `cuda`, `cuda:1` or `mps`.
        labels: of the outputs in their order, for a file that doesn't say.
        transform: the preprocessing, for a file that doesn't say.
        activation: what turns the outputs into probabilities, where the graph doesn't show it.
        output_name: which of several outputs to read.
        prepacks: see `OnnxSession`.
    Raises:
        ModelError: no such file, damaged, changed since it was exported, or no image classifier.
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
        prepacks: bool = False,
    ) -> None:
        if not path.is_file():
            raise ModelError(f"no such ONNX file: {path}", hint="check the path, or write one: imgcls export MODEL")
        self.path = path
        self._told = Told(labels, transform, activation, output_name)
        self.sha256 = checked_sha256(path)
        graph = None if is_as_written(path) else read_graph(path)
        if graph is not None and graph.external:
            self.sha256 = sha256_with_weights(path, self.sha256, graph.external)
        takes_channels_last = graph is not None and graph.takes_channels_last
        self._session = OnnxSession(path, device=device, takes_channels_last=takes_channels_last, prepacks=prepacks)
        self.device = self._session.device
        self.notes: tuple[str, ...] = ()
        text = self._session.metadata.get(CARD_KEY)
        self.is_foreign = text is None
        if text is None:
            assert graph is not None
            self.card, self._answers, self.notes = read_foreign(path, self.sha256, self._session, graph, self._told)
        else:
            if any(each is not None for each in self._told):
                raise UsageError(
                    f"{path} has its own labels and transform", hint="leave out --labels, --preset, --mean ..."
                )
            self.card = ModelCard.from_json(text, source=str(path))
            self._answers = OWN_ANSWERS if self.card.multi_label is None else OWN_MULTI_LABEL_ANSWERS
            if (count := self._session.outputs[0].num_values) is not None:
                self._check_count(count)
        self._check_input()

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of itself, by key."""
        return self._session.metadata

    @property
    def id(self) -> str:
        """Name and first digits of the file's SHA-256."""
        return f"{self.card.name}@{self.sha256[:12]}"

    def on(self, device: str) -> Self:
        """The same file, read in the same way, on another device."""
        return type(self)(self.path, device=device, **self._told._asdict())

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self.card.classes

    @property
    def transform(self) -> Transform:
        """The preprocessing that the model was trained for."""
        return self.card.transform

    @property
    def is_multi_label(self) -> bool:
        """Whether each class is answered for itself."""
        return self._answers.multi_label

    @property
    def num_threads(self) -> int:
        """Onnxruntime has threads of its own; see `Backend`."""
        return 1

    def use_threads(self, count: int) -> None:
        """They stay as they are."""

    def keep_in_memory(self) -> None:
        """Hold the weights apart from the file."""
        self._session.keep_in_memory()

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        values: dict[str, Any] = {
            "id": self.id,
            "name": self.card.name,
            "weights_sha256": self.sha256,
            "num_classes": len(self.card.classes),
            "transform": self.card.transform.to_dict(),
            "runtime": "onnxruntime",
        }
        if not self.is_foreign:
            values["precision"] = self.card.precision
            values["exported_from"] = self.card.weights_sha256
            revision, calibration = self.card.weights_revision, self.card.calibration
            values |= {"weights_revision": revision} if revision else {}
            values |= {"calibration": calibration.describe()} if calibration else {}
            return values | (self.card.multi_label.describe() if self.card.multi_label else {})
        values |= {"output": self._answers.output, "activation": self._answers.activation}
        return values | ({"multi_label": True} if self._answers.multi_label else {})

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Probabilities of each class, float32, shape (batch, K).

        Args:
            images_BHWC: uint8, shape (batch, *transform.size_px, 3).
        Raises:
            ModelError: the model can't be run, or an output isn't a number.
        """
        return self._probabilities(self.outputs(images_BHWC))

    def outputs(self, images_BHWC: Pixels) -> Floats:
        """What the graph itself answers for crops, shape (batch, K); see `probabilities`."""
        transform, wanted = self.card.transform, self._session.input
        if self.card.takes_pixels:
            return self._session.run(on_canvas(transform, images_BHWC), self._answers)
        if wanted.dtype is np.uint8:
            images = transform.channels_array(images_BHWC)
            images = images if wanted.channels_last else images.transpose(0, 3, 1, 2)
            return self._session.run(np.ascontiguousarray(images), self._answers)
        return self.run_normalised(transform.normalise_array(images_BHWC))

    def run_pixels(self, pixels_BHWC: Pixels) -> Floats:
        """What a graph that holds its transform answers for decoded images of any size, shape (batch, K)."""
        return self._session.run(pixels_BHWC, self._answers)

    def logits(self, images_BCHW: Floats) -> Floats:
        """Scores whose softmax are the probabilities, as a network gives them, float32, shape (batch, K).

        Of a file that answers with probabilities they are the logarithms; where each class is answered for itself, the
        softmax then scales the answers to add up to 1. Those of a multi-label model of ours are for the sigmoid.

        Args:
            images_BCHW: what `Transform.normalise_array` gives.
        Raises:
            ModelError: as for `probabilities`.
        """
        if self.card.takes_pixels:
            rows_BK = self.outputs(normalised_to_pixels(self.card.transform, images_BCHW))
        else:
            takes_bytes = self._session.input.dtype is np.uint8
            rows_BK = self.run_normalised(self._as_bytes(images_BCHW) if takes_bytes else images_BCHW)
        if self._answers.activation == "softmax" or self.card.multi_label is not None:
            self._check_rows(rows_BK)
            return rows_BK
        logits_BK: Floats = np.log(self._probabilities(rows_BK).clip(np.finfo(np.float32).tiny))
        return logits_BK

    def _as_bytes(self, images_BCHW: Floats) -> Pixels:
        """The bytes that were normalised, for a file that takes them as they are."""
        transform = self.card.transform
        mean, std = (np.asarray(each, np.float32).reshape(-1, 1, 1) for each in (transform.mean, transform.std))
        values: Floats = (images_BCHW * std + mean) * np.float32(255 if transform.scale == 1 else 1)
        return np.rint(values).clip(0, 255).astype(np.uint8)

    def _probabilities(self, rows_BK: Floats) -> Floats:
        self._check_rows(rows_BK)
        if self.card.calibration is not None:
            rows_BK = self.card.calibration.apply(rows_BK)
        try:
            return self._answers.probabilities(rows_BK, len(self.card.classes))
        except ValueError as exc:
            raise ModelError(
                f"{self.id} {exc}", hint="add --activation softmax for logits, or --activation sigmoid"
            ) from exc

    def _check_rows(self, rows_BK: Floats) -> None:
        if not np.isfinite(rows_BK).all():
            raise ModelError(
                f"{self.id} answers with values that are not numbers", hint="its weights are damaged; use another model"
            )
        self._check_count(rows_BK.shape[1])
        if self.is_foreign and rows_BK.shape[1] == 1 and self._answers.activation == "softmax":
            # Its shape didn't show it.
            raise ModelError(
                f"{self.path} answers with a single number, whose softmax is always 1",
                hint="add --activation sigmoid, or --activation none where it is a probability already",
            )

    def run_normalised(self, images_BCHW: Floats | Pixels) -> Floats:
        """What the model itself answers, shape (batch, K), for what `Transform.normalise_array` gives, or bytes."""
        is_last = self._session.input.channels_last
        images = np.ascontiguousarray(images_BCHW.transpose(0, 2, 3, 1)) if is_last else images_BCHW
        rows_BK = self._session.run(images, self._answers)
        self._check_count(rows_BK.shape[1])
        return rows_BK

    def _check_count(self, num_outputs: int) -> None:
        self._answers.check_count(num_outputs, len(self.card.classes), path=self.path)

    def _check_input(self) -> None:
        height, width = self._session.input.size_px
        told_height, told_width = self.card.transform.size_px
        if (height or told_height, width or told_width) != (told_height, told_width):
            size = f"{height}" if width in (None, height) else f"{height}x{width}"
            raise UsageError(
                f"{self.path} takes images of {height} x {width}, not {told_height} x {told_width}",
                hint=f"add --size {size}",
            )
