"""The answer of `eval`: figures with all that is needed to trace them."""

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from imgcls.datasets.labelled_images import DataDescription, LabelledImages, SkippedImage
from imgcls.distributed.process_group import Processes
from imgcls.evaluation.labels import match_labels
from imgcls.evaluation.metrics import EvalResult, evaluate_network
from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation
from imgcls.host.versions import versions
from imgcls.images.sources import display_name
from imgcls.models.loading import LoadedModel

SCHEMA = 1
# Memory for activations grows with the area: these keep a ResNet-50 under 1 GiB and small networks busy.
SMALL_PX = 64
SMALL_BATCH = 500
LARGE_BATCH = 64


class Confusion(NamedTuple):
    """One kind of mistake.

    Attributes:
        true: the class that the images are of.
        guessed: the class that the model named first.
        num_images: how many.
        share: num_images over all images of the true class, in (0, 1].
    """

    true: str
    guessed: str
    num_images: int
    share: float


@dataclass(frozen=True)
class EvalReport:
    """What `eval` answers.

    Attributes:
        model: as `LoadedModel.describe` gives it.
        data: where the images came from.
        result: the figures.
        missing: classes of the model that the data lacks.
        skipped: damaged files, which count neither as right nor as wrong.
        device: where the network ran.
        tta: which views of each image were averaged; None for one plain forward pass.
        versions: of imgcls, torch, ...
    """

    model: dict[str, Any]
    data: DataDescription
    result: EvalResult
    missing: tuple[str, ...]
    skipped: tuple[SkippedImage, ...]
    device: str
    tta: TestTimeAugmentation | None = None
    versions: dict[str, str] = field(default_factory=versions)

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer, as the contract has it; a loss that is no number is None."""
        result = self.result
        return {
            "schema": SCHEMA,
            "model": self.model,
            "data": self.data.to_dict(),
            "count": result.count,
            "correct": result.correct,
            "top1": result.top1,
            "top5": result.top5,
            "loss": result.loss if math.isfinite(result.loss) else None,
            "classes": [
                {"label": each.label, "count": each.count, "correct": each.correct, "accuracy": each.accuracy}
                for each in result.classes
            ],
            "confusion": result.confusion_KK.tolist(),
            "tta": self.tta,
            "missing_classes": list(self.missing),
            "skipped_images": len(self.skipped),
            "skipped": [
                {"input": display_name(bad.path), "error": {"kind": bad.kind, "message": bad.message}}
                for bad in self.skipped
            ],
            "device": self.device,
            "versions": self.versions,
        }

    def confusion_csv(self) -> str:
        """The confusion matrix for a spreadsheet: a row a true class, a column a first guess, counts of images."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["true class", *self.result.labels])
        for label, counts in zip(self.result.labels, self.result.confusion_KK.tolist(), strict=True):
            writer.writerow([label, *counts])
        return out.getvalue()

    def largest_confusions(self, count: int = 10) -> list[Confusion]:
        """The most frequent mistakes, falling; equal ones in the order of the classes."""
        matrix_KK = self.result.confusion_KK.clone()
        matrix_KK.fill_diagonal_(0)
        totals = self.result.confusion_KK.sum(1)
        labels, found = self.result.labels, []
        values, places = matrix_KK.flatten().sort(descending=True, stable=True)
        for value, place in zip(values[:count].tolist(), places[:count].tolist(), strict=True):
            if value == 0:
                break
            row, column = divmod(place, len(labels))
            found.append(Confusion(labels[row], labels[column], value, value / int(totals[row])))
        return found


def evaluate_model(
    model: LoadedModel,
    images: LabelledImages,
    *,
    device: torch.device,
    batch_size: int | None = None,
    tta: TestTimeAugmentation | None = None,
    progress: Callable[[int, int], None] | None = None,
    processes: Processes | None = None,
) -> EvalReport:
    """Measure a model on labelled images, whose classes are matched to the model's by name or WordNet ID.

    Args:
        model: any that `load_model` gives; its network is moved to the device.
        images: opened with the model's own transform.
        device: where to run.
        batch_size: images at once; None chooses by their size.
        tta: average over several views of each image; None for one plain forward pass.
        progress: called with images done and in all.
        processes: share the images out, and all get the report; every one calls this.
    Raises:
        DataError: a class that the model doesn't know, or no image that can be read.
    """
    label_map = match_labels(images.classes, model.classes, wordnet_ids=model.wordnet_ids)
    small = max(model.transform.size_px) <= SMALL_PX
    result = evaluate_network(
        model.network.to(device),
        images,
        transform=model.transform,
        device=device,
        batch_size=batch_size or (SMALL_BATCH if small else LARGE_BATCH),
        label_map=label_map,
        tta=tta,
        progress=progress,
        processes=processes,
    )
    met = (processes or Processes()).gather(images.skipped)
    return EvalReport(
        model=model.describe(),
        data=images.description,
        result=result,
        missing=label_map.missing,
        # Each process has met its own, or all of them have met all.
        skipped=tuple({bad.path: bad for part in met for bad in part}.values()),
        device=str(device),
        tta=tta,
    )
