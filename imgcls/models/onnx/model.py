"""A classifier in an ONNX file, with what its answers mean; imports neither torch nor torchvision nor onnx.

Shapes: B batch, H height, W width, C channels (3), K classes.
"""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgcls.errors import ModelError, UsageError
from imgcls.host.digests import file_sha256
from imgcls.images.transform import Floats, Pixels, Transform
from imgcls.models.model_card import ModelCard
from imgcls.models.onnx.file_bytes import stored_digest
from imgcls.models.onnx.session import OnnxSession

CARD_KEY = "imgcls"
SUFFIX = ".onnx"
# Half precision leaves so much between the sum of a thousand probabilities and 1.
SUM_TOLERANCE = 5e-3
FOREIGN_HINT = "say what it was trained on: --labels FILE --preset imagenet, or --labels FILE --mean --std --size"


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
        transform: Transform | None = None,
    ) -> None:
        if not path.is_file():
            raise ModelError(f"no such ONNX file: {path}", hint="check the path, or write one: imgcls export MODEL")
        self.path = path
        self.sha256 = _checked_sha256(path)
        self._session = OnnxSession(path, device=device)
        self.device = self._session.device
        self.card, self.is_foreign = self._describe(labels, transform)
        self._check_input()
        self._gives_probabilities: bool | None = None if self.is_foreign else False

    @property
    def id(self) -> str:
        """Name and first digits of the file's SHA-256."""
        return f"{self.card.name}@{self.sha256[:12]}"

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
        return values

    def probabilities(self, images_BHWC: Pixels) -> Floats:
        """Softmax outputs, float32, shape (batch, K).

        Args:
            images_BHWC: uint8, shape (batch, crop, crop, 3).
        Raises:
            ModelError: the model can't be run, or an output isn't a number.
        """
        wanted = self._session.input
        if wanted.dtype is np.uint8:
            images = images_BHWC if wanted.channels_last else images_BHWC.transpose(0, 3, 1, 2)
            return self._as_probabilities(self._session.run(np.ascontiguousarray(images)))
        return self._as_probabilities(self.run_normalised(self.card.transform.normalise_array(images_BHWC)))

    def run_normalised(self, images_BCHW: Floats) -> Floats:
        """What the model itself answers, shape (batch, K), for what `Transform.normalise_array` gives."""
        if self._session.input.channels_last:
            images_BCHW = np.ascontiguousarray(images_BCHW.transpose(0, 2, 3, 1))
        answers_BK = self._session.run(images_BCHW)
        if answers_BK.shape[1] != len(self.card.classes):
            raise self._wrong_number(answers_BK.shape[1])
        return answers_BK

    def _as_probabilities(self, answers_BK: Floats) -> Floats:
        if not np.isfinite(answers_BK).all():
            raise ModelError(
                f"{self.id} answers with values that are not numbers", hint="its weights are damaged; use another model"
            )
        if self._gives_probabilities is None:
            self._gives_probabilities = are_probabilities(answers_BK)
        return answers_BK if self._gives_probabilities else softmax(answers_BK)

    def _describe(self, labels: Sequence[str] | None, transform: Transform | None) -> tuple[ModelCard, bool]:
        text = self._session.metadata.get(CARD_KEY)
        if text is not None:
            if labels is not None or transform is not None:
                raise UsageError(
                    f"{self.path} has its own labels and transform", hint="leave out --labels, --preset, --mean ..."
                )
            return ModelCard.from_json(text, source=str(self.path)), False
        if labels is None or transform is None:
            missing = " and ".join(
                name for name, value in (("class names", labels), ("transform", transform)) if value is None
            )
            raise UsageError(f"{self.path} doesn't hold its {missing}", hint=FOREIGN_HINT)
        return ModelCard(self.path.stem, tuple(labels), transform, self.sha256), True

    def _check_input(self) -> None:
        num_outputs = self._session.num_outputs
        if num_outputs is not None and num_outputs != len(self.card.classes):
            raise self._wrong_number(num_outputs)
        height, width = self._session.input.size_px
        told_height, told_width = self.card.transform.size_px
        if (height or told_height, width or told_width) != (told_height, told_width):
            raise UsageError(
                f"{self.path} takes images of {height} x {width}, not {told_height} x {told_width}",
                hint=f"add --size {height}",
            )

    def _wrong_number(self, num_outputs: int) -> ModelError:
        return ModelError(
            f"{self.path} has {num_outputs} outputs, but {len(self.card.classes)} labels",
            hint="give one label a line for every output, in their order",
        )


def softmax(logits_BK: Floats) -> Floats:
    """Probabilities of each row, float32."""
    exponentials_BK = np.exp(logits_BK - logits_BK.max(axis=1, keepdims=True))
    result: Floats = exponentials_BK / exponentials_BK.sum(axis=1, keepdims=True)
    return result


def are_probabilities(answers_BK: Floats) -> bool:
    """Whether a model's rows are probabilities already: none negative, and each row's sum 1."""
    return bool((answers_BK >= 0).all() and (np.abs(answers_BK.sum(axis=1) - 1) < SUM_TOLERANCE).all())


def _checked_sha256(path: Path) -> str:
    """The file's SHA-256, after what `imgcls export` wrote into it has been checked."""
    try:
        if path.stat().st_size:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                stored = stored_digest(mapped)
            if stored is not None and file_sha256(path, num_bytes=stored[1]) != stored[0]:
                raise ModelError(f"{path} was changed or damaged after its export", hint="export the model again")
        return file_sha256(path)
    except OSError as exc:
        raise ModelError(f"{path} can't be read: {exc.strerror}", hint="check the permissions of that file") from exc
