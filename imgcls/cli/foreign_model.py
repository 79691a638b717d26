"""Options that say what an ONNX file from elsewhere doesn't: its class names and its preprocessing."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from imgcls.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from imgcls.images.transform import Transform

PANEL = "ONNX files from elsewhere"
# Pixels of the shorter side after resizing, and of the crop, as ImageNet's classic preset has them.
IMAGENET_SIZE = (256, 224)


class Preset(StrEnum):
    """Well-known preprocessings."""

    IMAGENET = "imagenet"


# Typer reads these at run time, and asks for Optional where None may stand.
# ruff: noqa: UP045
Labels = Annotated[
    Optional[Path],
    typer.Option("--labels", help="Class names, one a line, in output order.", metavar="FILE", rich_help_panel=PANEL),
]
PresetOption = Annotated[
    Optional[Preset],
    typer.Option("--preset", help="Preprocessing: resize 256, crop 224, ImageNet's mean.", rich_help_panel=PANEL),
]
Mean = Annotated[
    Optional[str],
    typer.Option("--mean", help="Of each channel, white being 1: 0.5,0.5,0.5", metavar="R,G,B", rich_help_panel=PANEL),
]
Std = Annotated[
    Optional[str],
    typer.Option("--std", help="Of each channel, likewise.", metavar="R,G,B", rich_help_panel=PANEL),
]
Size = Annotated[
    Optional[str],
    typer.Option(
        "--size",
        help="Resize the shorter side, then crop the centre, in pixels; one number for both.",
        metavar="RESIZE,CROP",
        rich_help_panel=PANEL,
    ),
]


def read_labels(path: Path | None) -> tuple[str, ...] | None:
    """Class names of a file, one a line.

    Raises:
        UsageError: it can't be read, or has an empty line between names.
    """
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
        raise UsageError(f"can't read the labels {path}: {reason}", hint="one class name a line, in UTF-8") from exc
    labels = tuple(line.strip() for line in lines)
    if not labels or not all(labels):
        where = f"line {labels.index('') + 1} is empty" if labels else "it is empty"
        raise UsageError(f"can't use the labels {path}: {where}", hint="one class name a line, in the outputs' order")
    return labels


def build_transform(preset: Preset | None, mean: str | None, std: str | None, size: str | None) -> "Transform | None":
    """The preprocessing that the options say; None when they say nothing.

    Raises:
        UsageError: some of it is missing.
        ConfigError: a value that means nothing.
    """
    if preset is None and mean is None and std is None and size is None:
        return None
    from imgcls.images.transform import IMAGENET_MEAN, IMAGENET_STD, Transform

    missing = [name for name, value in (("--mean", mean), ("--std", std), ("--size", size)) if value is None]
    if preset is None and missing:
        raise UsageError(f"the preprocessing lacks {', '.join(missing)}", hint="add it, or --preset imagenet")
    resize_px, crop_px = _sizes(size) if size else IMAGENET_SIZE
    return Transform(
        resize_px,
        crop_px,
        mean=_three(mean, "--mean") if mean else IMAGENET_MEAN,
        std=_three(std, "--std", above=0) if std else IMAGENET_STD,
    )


def _three(text: str, option: str, *, above: float = float("-inf")) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option} {text!r} is not three numbers", hint=f"{option} 0.485,0.456,0.406") from None
    # Written so that NaN fails as well.
    if not all(above < value < float("inf") for value in (red, green, blue)):
        raise ConfigError(f"{option} {text!r} is out of range", hint=f"{option} 0.229,0.224,0.225")
    return red, green, blue


def _sizes(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if not 1 <= len(parts) <= 2 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ConfigError(f"--size {text!r} is not one or two sizes in pixels", hint="--size 256,224")
    return int(parts[0]), int(parts[-1])
