"""A recipe's [model] and [data]: the network, and the images that it learns from."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from imgcls.images.transform_values import Interpolation, Resize, parse_colour
from imgcls.recipes.section import RGB, Colour, Section


class ModelSettings(Section):
    """[model]: which network, and what it begins with; random weights unless told otherwise."""

    name: str = Field(
        default="cnn",
        min_length=1,
        description="mlp, cnn, a name that 'imgcls models' lists, timm/NAME, or a trained model to begin with",
    )
    pretrained: bool | str = Field(
        default=False, description='begin with published weights: true, or which, such as "IMAGENET1K_V1"'
    )
    weights: str = Field(
        default="", description="begin with these: a state_dict, a checkpoint, a run's folder or a bundled model"
    )
    labels: str = Field(
        default="",
        description="a file of the class names of model.weights, a plain state_dict: where they are those of the data, "
        "its head is kept",
    )
    ema: bool = Field(default=False, description="take the EMA that the file of model.weights holds")
    arguments: dict[str, Any] | None = Field(default=None, description="keyword arguments of the network's builder")

    @field_validator("pretrained", mode="before")
    @classmethod
    def _yes_or_which(cls, value: Any) -> Any:
        if not isinstance(value, (bool, str)):
            raise ValueError(f"model.pretrained = {value!r} must be true, false or the name of published weights")
        return value


class DataSettings(Section):
    """[data]: which images, and the one preprocessing that stays with the model."""

    source: str = Field(
        default="",
        description="cifar10, a folder of class folders, a table of labels (CSV, TSV, Parquet), or tar and zip files",
    )
    image_px: int | None = Field(
        default=None,
        ge=8,
        le=1024,
        description="side of the square that the network sees; [height, width] where it is no square",
    )
    image_width_px: int | None = Field(
        default=None, ge=8, le=1024, description="the width in image_px = [height, width], as a saved recipe has it"
    )
    resize: Resize | None = Field(
        default=None,
        description="how images of another shape are fitted: crop cuts the borders off, squash distorts, pad shows all "
        "within borders; crop by default",
    )
    resize_px: int | None = Field(
        default=None, ge=8, le=2048, description="shorter side before the centre is cut; image_px by default"
    )
    pad_rgb: Colour | None = Field(default=None, description="colour of borders, 0 to 255 each; black by default")
    mean: RGB | None = Field(
        default=None, description="subtracted from red, green and blue, on the scale where white is 1"
    )
    std: RGB | None = Field(default=None, description="divides red, green and blue after that")
    interpolation: Interpolation | None = Field(
        default=None, description="filter of the resize, as Pillow names it; bilinear by default"
    )
    background: str | None = Field(
        default=None,
        description="what lies behind transparent images: white, black or #rrggbb; left out: the colours that the file "
        "has below its transparency",
    )
    depth_bits: int | None = Field(
        default=None,
        ge=1,
        le=32,
        description="bits that deep grey images use, such as 12 in files of 16; left out: what each file says",
    )
    truncated: Literal["error", "accept"] | None = Field(
        default=None,
        description="JPEGs that lack their last bytes: error skips them as damaged images, accept takes them with grey "
        "in their place; error by default",
    )
    val_fraction: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="share of the training images kept for validation; left out: the data set's own rule",
    )
    split_seed: int | None = Field(
        default=None,
        ge=0,
        description="seed of the validation images that are carved from train; left out: train.seed",
    )
    folds: int | None = Field(
        default=None, ge=2, le=100, description="parts of cross-validation; imgcls train --folds trains a run for each"
    )
    fold: int = Field(default=1, ge=1, le=100, description="which of data.folds validates, from 1")
    group_column: str = Field(
        default="",
        description="of a table of labels, the column whose values stay on one side of the split, such as patient; "
        "left out: group, where there is one",
    )
    multi_label: bool | None = Field(
        default=None,
        description="whether an image of a table may have any number of labels, with semicolons between them; left "
        "out: whether a row has several",
    )
    allow_modified: bool = Field(
        default=False, description="take CIFAR-10 files whose checksums are not the published ones"
    )
    strict: bool = Field(default=False, description="refuse damaged images instead of skipping them")
    fixes: str = Field(
        default="",
        description="a list of images to leave out or to give another class, as imgcls check --fix-list writes it",
    )

    @field_validator("background")
    @classmethod
    def _colour(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                parse_colour(value)
            except ValueError as exc:
                raise ValueError(f"data.background = {exc}") from exc
        return value

    @model_validator(mode="before")
    @classmethod
    def _height_and_width(cls, values: Any) -> Any:
        size = values.get("image_px") if isinstance(values, dict) else None
        if not isinstance(size, (list, tuple)):
            return values
        if len(size) != 2:
            raise ValueError(f"data.image_px = {size!r} must be one side, or [height, width]")
        height, width = size
        return {**values, "image_px": height, "image_width_px": None if width == height else width}
