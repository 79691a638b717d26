"""What an exported file says about itself, so that it is enough by itself."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from imgcls.errors import ModelError
from imgcls.host.versions import versions
from imgcls.images.transform import Transform
from imgcls.models.answers.calibration import Calibration
from imgcls.models.answers.multi_label import MultiLabel

FORMAT_VERSION = 3
# Where images have several labels.
MULTI_LABEL_VERSION = 2
# What an older imgcls reads, for files that hold nothing that it would get wrong: it would answer with softmax.
PLAIN_VERSION = 1
Input = Literal["normalised", "pixels"]
REQUIRED = ("name", "classes", "transform", "weights_sha256")


@dataclass(frozen=True)
class ModelCard:
    """The description that travels inside an exported file.

    Attributes:
        name: of the model that was exported.
        classes: labels in the order of the outputs.
        transform: the preprocessing that it was trained for.
        weights_sha256: of the file that its weights came from.
        wordnet_ids: of ImageNet's classes, else empty.
        weights_revision: the commit of the hub's repository that they came from, where they did.
        precision: `fp32`, `fp16` or `int8`.
        recipe: the configuration that trained it, where known.
        metrics: figures stored with it, where known; measured before the export.
        versions: of imgcls, torch, ... that exported it.
        calibration: what is done to the outputs of the graph; None where nobody calibrated the model.
        multi_label: the thresholds of its classes where images have several labels; None for one label per image.
        input: what the graph takes: `normalised` images, float NCHW, after the transform; or `pixels`, decoded RGB
            bytes, NHWC, of any size: then the transform is part of the graph.
    """

    name: str
    classes: tuple[str, ...]
    transform: Transform
    weights_sha256: str
    wordnet_ids: tuple[str, ...] = ()
    weights_revision: str = ""
    precision: str = "fp32"
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=versions)
    calibration: Calibration | None = None
    multi_label: MultiLabel | None = None
    input: Input = "normalised"

    @property
    def takes_pixels(self) -> bool:
        """Whether the graph prepares decoded images itself."""
        return self.input == "pixels"

    def to_json(self) -> str:
        """One JSON object."""
        version = PLAIN_VERSION if self.multi_label is None else MULTI_LABEL_VERSION
        version = version if self.input == "normalised" else FORMAT_VERSION
        values = {"format_version": version, **asdict(self), "transform": self.transform.to_dict()}
        del values["calibration"], values["multi_label"]
        if self.input == "normalised":
            del values["input"]
        if self.calibration is not None:
            values["calibration"] = self.calibration.to_dict()
        if self.multi_label is not None:
            values["multi_label"] = self.multi_label.to_dict()
        return json.dumps(values, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> "ModelCard":
        """The description that `to_json` wrote.

        Args:
            text: the JSON object.
            source: the file it comes from, for messages.
        Raises:
            ModelError: it was written by a newer imgcls, or is damaged.
        """
        try:
            values = json.loads(text)
            version = values.pop("format_version")
            if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
                raise ModelError(
                    f"{source} has format {version!r}; this imgcls reads 1 to {FORMAT_VERSION}",
                    hint="pip install --upgrade imgcls",
                )
            missing = [key for key in REQUIRED if key not in values]
            if missing:
                raise ValueError(f"lacks {', '.join(missing)}")
            classes, ids = tuple(values["classes"]), tuple(values.get("wordnet_ids", ()))
            if not classes or not all(isinstance(name, str) for name in (*classes, *ids)):
                raise ValueError("classes is no list of names")
            # A lone surrogate is valid in JSON, and can't be written anywhere.
            "".join((str(values["name"]), *classes, *ids)).encode("utf-8")
            return cls(
                name=str(values["name"]),
                classes=classes,
                transform=_transform(values["transform"], source),
                weights_sha256=str(values["weights_sha256"]),
                wordnet_ids=ids,
                weights_revision=str(values.get("weights_revision", "")),
                precision=str(values.get("precision", "fp32")),
                recipe=dict(values.get("recipe", {})),
                metrics=dict(values.get("metrics", {})),
                versions=dict(values.get("versions", {})),
                calibration=Calibration.from_dict(values["calibration"], num_classes=len(classes))
                if "calibration" in values
                else None,
                multi_label=MultiLabel.from_dict(values["multi_label"], num_classes=len(classes))
                if "multi_label" in values
                else None,
                input=_input(values.get("input", "normalised")),
            )
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as exc:
            raise ModelError(f"the description in {source} is damaged: {exc}", hint="export the model again") from exc


def _input(value: Any) -> Input:
    if value not in get_args(Input):
        raise ValueError(f"input is {value!r}")
    return "pixels" if value == "pixels" else "normalised"


def _transform(values: Any, source: str) -> Transform:
    try:
        return Transform.from_dict(values)
    except ModelError as exc:
        raise ModelError(
            f"the description in {source} is damaged: {exc.message}", hint="export the model again"
        ) from exc
