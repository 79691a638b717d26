"""A network that is ready to answer, with all that its answers mean."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from imgcls.errors import ModelError
from imgcls.images.transform import Transform
from imgcls.models.answers.calibration import Calibration
from imgcls.models.answers.multi_label import MultiLabel
from imgcls.models.checkpoint import Checkpoint, save_checkpoint
from imgcls.models.ensembles import How, describe_ensemble
from imgcls.models.exported import ExportedNetwork


@dataclass(frozen=True)
class LoadedModel:
    """A network that is ready to answer, with all that its answers mean.

    Attributes:
        name: as the user would type it, or the checkpoint's own model name.
        network: in eval mode, float32, on the CPU.
        classes: labels in the order of the outputs.
        transform: the preprocessing that it was trained for.
        weights_sha256: of the file that the weights came from.
        weights_path: that file.
        wordnet_ids: of ImageNet's classes, else empty.
        recipe: the configuration that trained it, where known.
        metrics: figures stored with it, where known.
        images: fingerprints of the images that it was trained and validated on, where known.
        arguments: of the network's builder.
        network_name: what the registry calls the network, where that isn't `name` (a bundled model's).
        remarks: what was stripped or left out of the file's weights.
        calibration: what is done to the network's logits, where somebody calibrated it; `calibrated_network.answering`.
        weights_revision: the commit of the hub's repository that the weights came from, where they did.
        notes: what was chosen for a person who didn't say it, one sentence each.
        multi_label: the thresholds of its classes where images have several labels; None for one label per image, and
            for ONNX files of other tools.
        members: of an ensemble; empty for one model.
        ensemble: how they answer together, `mean` or `vote`; empty for one model.
    """

    name: str
    network: nn.Module
    classes: tuple[str, ...]
    transform: Transform
    weights_sha256: str
    weights_path: Path
    wordnet_ids: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Tensor] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    network_name: str = ""
    remarks: tuple[str, ...] = ()
    weights_revision: str = ""
    notes: tuple[str, ...] = ()
    calibration: Calibration | None = None
    multi_label: MultiLabel | None = None
    members: "tuple[LoadedModel, ...]" = ()
    ensemble: How | Literal[""] = ""

    @property
    def id(self) -> str:
        """Name and the first 12 digits of the weights' SHA-256, as every record names the model."""
        return f"{self.name}@{self.weights_sha256[:12]}"

    def describe(self) -> dict[str, Any]:
        """The `model` object of every JSON answer."""
        if self.members and self.ensemble:
            told = [member.describe() for member in self.members]
            several = bool(told[0].get("multi_label"))
            transform = self.members[0].transform
            return describe_ensemble(told, self.ensemble, transform, self.multi_label, several=several)
        if isinstance(self.network, ExportedNetwork):
            return self.network.describe()
        return {
            "id": self.id,
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            **({"weights_revision": self.weights_revision} if self.weights_revision else {}),
            "num_classes": len(self.classes),
            "transform": self.transform.to_dict(),
            **({"calibration": self.calibration.describe()} if self.calibration else {}),
            **(self.multi_label.describe() if self.multi_label else {}),
        }


def save_loaded(model: LoadedModel, path: Path) -> None:
    """Write any loaded model as a checkpoint of ours, so that it needs no other file and no options.

    Raises:
        OutputError: it can't be written.
        ModelError: it is an exported file, whose weights are no network's.
    """
    if isinstance(model.network, ExportedNetwork):
        raise ModelError(
            f"{model.weights_path} can't become a checkpoint: it holds a graph, not a network's weights",
            hint="export the checkpoint that it came from",
        )
    told = {key: value for key, value in model.describe().items() if key.startswith("weights_")}
    stored = Checkpoint(
        model_name=model.network_name or model.name,
        model_arguments=model.arguments,
        classes=model.classes,
        transform=model.transform,
        weights=dict(model.network.state_dict()),
        metrics=model.metrics,
        recipe=model.recipe,
        images=model.images,
        calibration=model.calibration,
        multi_label=model.multi_label,
        start={"model": model.name, "weights": model.weights_path.name, **told},
    )
    save_checkpoint(stored, path)
