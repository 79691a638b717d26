"""From a model's probabilities for one image to its record.

Shapes: K classes.
"""

from dataclasses import replace

import numpy as np

from imgcls.errors import UsageError
from imgcls.images.transform import Floats
from imgcls.inference.backends.backend import Backend
from imgcls.inference.decoder import Crop, Decoded
from imgcls.inference.restriction import Restriction
from imgcls.inference.settings import PredictSettings
from imgcls.models.answers.calibration import sets_of
from imgcls.models.answers.multi_label import MultiLabel, multi_label_of
from imgcls.outputs.record import ImageRecord, Prediction, RecordError, failed_record


class RecordBuilder:
    """Names the most probable classes, with what the settings add to a record.

    Args:
        backend: the model.
        settings: what shapes the answers.
    Raises:
        UsageError: a class that the model doesn't have, or sets of labels that it doesn't give.
    """

    def __init__(self, backend: Backend, settings: PredictSettings) -> None:
        self._backend, self._settings = backend, settings
        described = backend.describe()
        self._is_multi_label = True if described.get("multi_label") else None
        self._labels = _thresholds(multi_label_of(described), settings.threshold)
        self._only: Restriction | None = None
        if settings.only_classes:
            multi = self._is_multi_label or False
            self._only = Restriction(backend.classes, settings.only_classes, is_multi_label=multi)
        # What is guaranteed for all classes isn't for some of them.
        self._sets = sets_of(described) if self._only is None else None
        if settings.accepts_single and self._sets is None:
            raise UsageError(
                f"{backend.id} gives no sets of labels to accept by", hint="imgcls calibrate MODEL --coverage 0.9"
            )

    def build(self, decoded: Decoded, crop: Crop, probabilities_K: Floats, top_k: int) -> ImageRecord:
        """The record of an image that was classified.

        Args:
            decoded: the input.
            crop: its outcome.
            probabilities_K: the model's answer.
            top_k: how many classes the record names, at most; but always all labels of a multi-label image.
        """
        classes, threshold = self._backend.classes, self._settings.threshold
        if self._only is not None:
            probabilities_K, top_k = self._only.apply(probabilities_K), min(top_k, len(self._only))
        labels = None
        if self._labels is not None:
            labels = self._labels.members(probabilities_K)
            if self._only is not None:
                labels = [index for index in labels if index in self._only.indices]
            top_k = max(top_k, len(labels))
        # Thresholds differ, so that a label may come behind classes that are none.
        chosen = top_classes(probabilities_K, top_k)
        chosen += [index for index in labels or () if index not in chosen]
        predictions = tuple(Prediction(index, classes[index], float(probabilities_K[index])) for index in chosen)
        members = None if self._sets is None else self._sets.members(probabilities_K)
        record = ImageRecord(
            input=decoded.name,
            model=self._backend.id,
            predictions=predictions,
            width=crop.width,
            height=crop.height,
            uncertain=None if threshold is None else predictions[0].probability < threshold,
            version=decoded.version,
            thumbnail=crop.thumbnail,
            crop=crop.pixels_HWC if self._settings.keeps_crops else None,
            multi_label=self._is_multi_label,
            labels=None if labels is None else tuple(classes[index] for index in labels),
            truncated=crop.is_truncated or None,
            restricted_to=None if self._only is None else len(self._only),
            set=None if members is None else tuple(classes[index] for index in members),
            accepted=len(members) == 1 if members is not None and self._settings.accepts_single else None,
        )
        return _with_frame(record, decoded)

    def failed(self, decoded: Decoded, error: RecordError) -> ImageRecord:
        """The record of an input that has no crop."""
        return _with_frame(failed_record(decoded.name, self._backend.id, error, decoded.version), decoded)


def _thresholds(labels: MultiLabel | None, threshold: float | None) -> MultiLabel | None:
    """A model's own thresholds, or the one that was asked for in their place."""
    if labels is None or threshold is None:
        return labels
    return MultiLabel((threshold,) * len(labels.thresholds))


def _with_frame(record: ImageRecord, decoded: Decoded) -> ImageRecord:
    """A record that says which frame it is of, where there are several."""
    if decoded.num_frames <= 1:
        return record
    return replace(record, frame=decoded.frame, frames=decoded.num_frames)


def top_classes(probabilities_K: Floats, top_k: int) -> list[int]:
    """The most probable classes, falling; of equal ones the lower index first.

    Args:
        probabilities_K: shape (K,).
        top_k: how many, at least 1; more than K means K.
    """
    num_classes = len(probabilities_K)
    top_k = min(top_k, num_classes)
    if top_k < num_classes:
        # Everything as probable as the k-th, so that ties are broken by index, whatever the partition's order.
        threshold = np.partition(probabilities_K, num_classes - top_k)[num_classes - top_k]
        candidates = np.flatnonzero(probabilities_K >= threshold)
    else:
        candidates = np.arange(num_classes)
    order = np.argsort(-probabilities_K[candidates], kind="stable")
    return [int(index) for index in candidates[order][:top_k]]
