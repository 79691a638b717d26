"""What every report of `eval` holds, whatever the figures: what was measured, on what, and by which means."""

from dataclasses import dataclass, field
from typing import Any

import torch

from imgcls.datasets.fingerprints import SeenImages
from imgcls.datasets.labelled_images import DataDescription, LabelledImages, SkippedImage
from imgcls.distributed.process_group import Processes
from imgcls.evaluation.figures.measured import interval_facts
from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation
from imgcls.host.versions import versions
from imgcls.images.inputs.names import display_name
from imgcls.models.exported import ExportedNetwork
from imgcls.models.loaded_model import LoadedModel

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class MeasuredReport:
    """What is needed to trace figures.

    Attributes:
        model: what identifies the model, as every JSON answer has it.
        data: where the images came from.
        missing: classes of the model of which the data has no image.
        skipped: damaged files, which are not counted.
        device: where the network really ran.
        runtime: what ran it, `torch` or `onnxruntime`.
        precision: of its weights and arithmetic, `fp32`, `fp16` or `int8`.
        tta: which views of each image were averaged; None for one plain forward pass.
        trained_on: how many of the images the model was trained on; None where nobody knows.
        warnings: what the user should know about the data, a sentence each.
        versions: of imgcls, torch, ...
    """

    model: dict[str, Any]
    data: DataDescription
    missing: tuple[str, ...]
    skipped: tuple[SkippedImage, ...]
    device: str
    runtime: str = "torch"
    precision: str = "fp32"
    tta: TestTimeAugmentation | None = None
    trained_on: int | None = None
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=versions)

    def traces(self) -> dict[str, Any]:
        """What stands behind the figures in the JSON answer."""
        return {
            "intervals": interval_facts(),
            "tta": self.tta,
            "trained_on": self.trained_on,
            "missing_classes": list(self.missing),
            "skipped_images": len(self.skipped),
            "skipped": [
                {"input": display_name(bad.path), "error": {"kind": bad.kind, "message": bad.message}}
                for bad in self.skipped
            ],
            "warnings": list(self.warnings),
            "device": self.device,
            "runtime": self.runtime,
            "precision": self.precision,
            "versions": self.versions,
        }


def measured_with(
    model: LoadedModel, images: LabelledImages, *, device: torch.device, processes: Processes | None
) -> dict[str, Any]:
    """The fields of a `MeasuredReport` that follow from the model and its images.

    Args:
        model: that was measured.
        images: that it was measured on.
        device: where it ran, for PyTorch.
        processes: that measured them together; every one calls this.
    """
    file = model.network if isinstance(model.network, ExportedNetwork) else None
    seen = SeenImages.from_dict(model.images)
    met = (processes or Processes()).gather(images.skipped)
    return {
        "model": model.describe(),
        "data": images.description,
        # Each process has met its own, or all of them have met all.
        "skipped": tuple({bad.path: bad for part in met for bad in part}.values()),
        "device": file.device if file else str(device),
        "runtime": file.runtime if file else "torch",
        "precision": file.card.precision if file else "fp32",
        "trained_on": seen.count_trained(images.fingerprints()) if seen is not None else None,
    }
