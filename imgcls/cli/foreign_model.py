"""Options that say what an ONNX file from elsewhere doesn't: class names, preprocessing, what its outputs are."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from imgcls.cli import options
from imgcls.errors import ConfigError

if TYPE_CHECKING:
    from imgcls.models.onnx.input_options import InputOptions

PANEL = "ONNX files from elsewhere"


class Preset(StrEnum):
    """Well-known preprocessings; `PRESETS` without what that imports."""

    IMAGENET = "imagenet"
    IMAGENET_BICUBIC = "imagenet-bicubic"
    INCEPTION = "inception"
    CAFFE = "caffe"
    TF_LITE = "tf-lite"
    CLIP = "clip"
    ULTRALYTICS = "ultralytics"


class Channels(StrEnum):
    """Order of the input's channels."""

    RGB = "rgb"
    BGR = "bgr"
    GREY = "grey"


class Resize(StrEnum):
    """How an image of another shape meets the input."""

    CROP = "crop"
    SQUASH = "squash"
    PAD = "pad"


class Interpolation(StrEnum):
    """Pillow's filters."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"
    BOX = "box"
    HAMMING = "hamming"


class Scale(StrEnum):
    """What white is before mean and std."""

    ONE = "1"
    BYTES = "255"


class Activation(StrEnum):
    """What turns outputs into probabilities."""

    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"
    NONE = "none"


PresetOption = Annotated[
    Preset | None,
    typer.Option(
        "--preset",
        help=f"A well-known preprocessing, which other options change: {', '.join(Preset)}.",
        metavar="NAME",
        rich_help_panel=PANEL,
    ),
]
Mean = Annotated[
    str | None,
    typer.Option(
        "--mean",
        help="Mean of each channel, where white is --scale: 0.5,0.5,0.5",
        metavar="R,G,B",
        rich_help_panel=PANEL,
    ),
]
Std = Annotated[
    str | None,
    typer.Option("--std", help="Standard deviation of each channel, likewise.", metavar="R,G,B", rich_help_panel=PANEL),
]
Size = Annotated[
    str | None,
    typer.Option(
        "--size",
        help="Pixels: 224; 256,224 to resize the shorter side and crop the centre; HxW, or H,W with squash and pad.",
        metavar="SIZE",
        rich_help_panel=PANEL,
    ),
]
ChannelsOption = Annotated[
    Channels | None, typer.Option("--channels", help="Order of the channels; rgb by default.", rich_help_panel=PANEL)
]
ResizeOption = Annotated[
    Resize | None,
    typer.Option(
        "--resize",
        help="An image of another shape is cropped, squashed or padded; crop by default.",
        rich_help_panel=PANEL,
    ),
]
PadColour = Annotated[
    str | None,
    typer.Option(
        "--pad-colour", help="Colour of what --resize pad adds, 0 to 255 each.", metavar="R,G,B", rich_help_panel=PANEL
    ),
]
InterpolationOption = Annotated[
    Interpolation | None,
    typer.Option(
        "--interpolation",
        help=f"Filter of the resize, bilinear by default: {', '.join(Interpolation)}.",
        metavar="FILTER",
        rich_help_panel=PANEL,
    ),
]
ScaleOption = Annotated[
    Scale | None,
    typer.Option("--scale", help="What white is before --mean and --std; 1 by default.", rich_help_panel=PANEL),
]
ActivationOption = Annotated[
    Activation | None,
    typer.Option(
        "--activation",
        help="Outputs are logits (softmax), logits of several labels per image (sigmoid), or probabilities (none); by "
        "default as the file's last operator says.",
        rich_help_panel=PANEL,
    ),
]
OutputName = Annotated[
    str | None,
    typer.Option("--output-name", help="Which of several outputs to read.", metavar="NAME", rich_help_panel=PANEL),
]


class ForeignOptions(NamedTuple):
    """What an ONNX file from elsewhere doesn't say of itself."""

    labels: options.Labels = None
    preset: PresetOption = None
    mean: Mean = None
    std: Std = None
    size: Size = None
    channels: ChannelsOption = None
    resize: ResizeOption = None
    pad_colour: PadColour = None
    interpolation: InterpolationOption = None
    scale: ScaleOption = None
    activation: ActivationOption = None
    output_name: OutputName = None

    def transform(self) -> "InputOptions | None":
        """The preprocessing that the options say; None when they say nothing.

        Raises:
            ConfigError: a value that means nothing.
        """
        sizes = (self.mean, self.std, self.size, self.pad_colour)
        choices = (self.preset, self.channels, self.resize, self.interpolation, self.scale)
        if all(each is None for each in (*sizes, *choices)):
            return None
        from imgcls.models.onnx.input_options import InputOptions

        return InputOptions(
            preset=self.preset.value if self.preset else None,
            mean=_numbers(self.mean, "--mean") if self.mean else None,
            std=_numbers(self.std, "--std", above=0) if self.std else None,
            size=self.size,
            channels=self.channels.value if self.channels else None,
            resize=self.resize.value if self.resize else None,
            interpolation=self.interpolation.value if self.interpolation else None,
            scale=int(self.scale.value) if self.scale else None,
            pad_rgb=_colour(self.pad_colour) if self.pad_colour else None,
        )

    def told_activation(self) -> Literal["softmax", "sigmoid", "none"] | None:
        """What turns the outputs into probabilities."""
        return self.activation.value if self.activation else None


def read_labels(path: Path | None) -> tuple[str, ...] | None:
    """The class names in a file, if one is named; see `read_class_names`."""
    if path is None:
        return None
    from imgcls.models.answers.class_names import read_class_names

    return read_class_names(path)


def _numbers(text: str, option: str, *, above: float = float("-inf")) -> tuple[float, ...]:
    """Three numbers, or one for grey."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (1, 3):
        raise ConfigError(f"{option} {text!r} is not three numbers", hint=f"{option} 0.485,0.456,0.406") from None
    # Written so that NaN fails as well.
    if not all(above < value < float("inf") for value in values):
        raise ConfigError(f"{option} {text!r} is out of range", hint=f"{option} 0.229,0.224,0.225")
    return values


def _colour(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) <= 255 for part in parts):
        raise ConfigError(f"--pad-colour {text!r} is not three numbers from 0 to 255", hint="--pad-colour 114,114,114")
    red, green, blue = (int(part) for part in parts)
    return red, green, blue
