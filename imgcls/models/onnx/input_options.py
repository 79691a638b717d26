"""The preprocessing of an ONNX file from elsewhere: presets by name, and what a person says in their place."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from imgcls.errors import ConfigError, UsageError
from imgcls.images.transform import Transform
from imgcls.images.transform_values import Channels, Interpolation, Resize

HALF = (0.5, 0.5, 0.5)
# Sources: torchvision's and timm's presets; TensorFlow's models/slim (inception_preprocessing); Caffe's reference
# networks; TensorFlow's tpu/models/official/efficientnet/lite; openai/CLIP; ultralytics' classify_transforms.
PRESETS: dict[str, Transform] = {
    "imagenet": Transform(256, 224),
    "imagenet-bicubic": Transform(256, 224, interpolation="bicubic"),
    "inception": Transform(342, 299, HALF, HALF, interpolation="bicubic"),
    "caffe": Transform(256, 224, (104, 117, 123), (1, 1, 1), channels="bgr", scale=255),
    "tf-lite": Transform(256, 224, (127, 127, 127), (128, 128, 128), interpolation="bicubic", scale=255),
    "clip": Transform(
        224,
        224,
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
        interpolation="bicubic",
    ),
    "ultralytics": Transform(224, 224, (0, 0, 0), (1, 1, 1)),
}


class ImageInput(NamedTuple):
    """What a model takes.

    Attributes:
        name: of the input.
        dtype: float32, float16, float64, or uint8 for plain pixels.
        batch: how many images at once, None for any number.
        size_px: height and width, None where it takes any.
        channels_last: whether the input is BHWC instead of BCHW.
        num_channels: 3, or 1 for grey; None where it isn't said.
    """

    name: str
    dtype: type[np.generic]
    batch: int | None
    size_px: tuple[int | None, int | None]
    channels_last: bool
    num_channels: int | None


@dataclass(frozen=True, slots=True)
class InputOptions:
    """What a person says of a model's input; None where they don't.

    Attributes:
        preset: a name in `PRESETS`, which the others change.
        mean, std: per channel, in the network's order, on the scale of `scale`.
        size: `CROP`, `RESIZE,CROP`, `HxW`, or, with `squash` and `pad`, `H,W`; in pixels.
        channels, resize, interpolation, scale, pad_rgb: as in `Transform`.
    """

    preset: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    size: str | None = None
    channels: Channels | None = None
    resize: Resize | None = None
    interpolation: Interpolation | None = None
    scale: int | None = None
    pad_rgb: tuple[int, int, int] | None = None

    def transform(self, found: ImageInput) -> Transform:
        """The preprocessing for a file.

        Raises:
            UsageError: something is missing, or contradicts the file.
            ConfigError: a value that means nothing.
        """
        preset = PRESETS[self.preset] if self.preset else None
        channels = self.channels or ("grey" if found.num_channels == 1 else preset.channels if preset else "rgb")
        self._check_channels(channels, found, preset)
        base = preset or Transform(1, 1, scale=self.scale or 1)
        if preset is None:
            base = self._numbers(base, 1 if channels == "grey" else 3, found)
        transform = replace(
            base,
            mean=self.mean or base.mean,
            std=self.std or base.std,
            channels=channels,
            interpolation=self.interpolation or base.interpolation,
            resize=self.resize or base.resize,
            pad_rgb=self.pad_rgb or base.pad_rgb,
        )
        transform = self._sized(transform, found, has_size=preset is not None)
        self._check_scale(transform)
        try:
            return transform.check()
        except ValueError as exc:
            raise ConfigError(f"the preprocessing means nothing: {exc}", hint="see imgcls predict --help") from exc

    def _numbers(self, base: Transform, num_channels: int, found: ImageInput) -> Transform:
        if found.dtype is np.uint8:
            # It takes the bytes as they are.
            return replace(base, mean=(0.0,) * num_channels, std=(1.0,) * num_channels, scale=255)
        has_size = self.size is not None or None not in found.size_px
        named = (("--mean", self.mean), ("--std", self.std), ("--size", has_size or None))
        missing = [name for name, value in named if value is None]
        if missing:
            presets = ", ".join(PRESETS)
            raise UsageError(
                f"the preprocessing lacks {', '.join(missing)}", hint=f"add it, or --preset with one of: {presets}"
            )
        return base

    def _check_channels(self, channels: Channels, found: ImageInput, preset: Transform | None) -> None:
        wanted = 1 if channels == "grey" else 3
        if found.num_channels not in (None, wanted):
            hint = "leave out --channels" if found.num_channels == 3 else "use --channels grey"
            raise UsageError(f"the file takes {found.num_channels} channels, not the {wanted} of {channels}", hint=hint)
        given = [("--mean", self.mean), ("--std", self.std)]
        for option, values in given:
            if values is not None and len(values) != wanted:
                numbers = "one number" if wanted == 1 else "three numbers"
                raise ConfigError(f"{option} has {len(values)} of them; {channels} takes {numbers}", hint=f"{option} "
                                  + ",".join(["0.5"] * wanted))  # fmt: skip
        if preset is not None and wanted != len(preset.mean) and not (self.mean and self.std):
            raise UsageError(f"the preset {self.preset} is for colours, not for grey", hint="add --mean 0.5 --std 0.5")
        if preset is not None and self.scale not in (None, preset.scale) and not (self.mean and self.std):
            raise UsageError(
                f"the preset {self.preset} has white at {preset.scale}", hint="leave out --scale, or add --mean --std"
            )

    def _check_scale(self, transform: Transform) -> None:
        largest = max(transform.mean)
        if transform.scale == 1 and largest > 1:
            raise UsageError(f"a mean of {largest:g} is for pixels up to 255, not up to 1", hint="add --scale 255")
        if transform.scale == 255 and 0 < largest < 1:
            raise UsageError(f"a mean of {largest:g} is for pixels up to 1, not up to 255", hint="use --scale 1")

    def _sized(self, transform: Transform, found: ImageInput, *, has_size: bool) -> Transform:
        if self.scale is not None and found.dtype is not np.uint8:
            transform = replace(transform, scale=self.scale)
        height, width = found.size_px
        if self.size is not None:
            resize_px, height, width = _parse_size(self.size, transform.resize, found.size_px)
        elif has_size or height is None or width is None:
            return transform
        else:
            resize_px = height
        return replace(transform, resize_px=resize_px, crop_px=height, crop_width_px=None if width == height else width)


def _parse_size(text: str, resize: Resize, file_px: tuple[int | None, int | None]) -> tuple[int, int, int]:
    """Resize, height and width."""
    *before, last = text.lower().replace(" ", "").split(",")
    sides = last.split("x")
    if len(before) > 1 or len(sides) > 2 or not all(part.isdecimal() and int(part) > 0 for part in (*before, *sides)):
        raise ConfigError(f"--size {text!r} is not a size in pixels", hint="--size 224, --size 256,224 or --size 48x96")
    height, width = int(sides[0]), int(sides[-1])
    if not before:
        return height, height, width
    first = int(before[0])
    # Two numbers are a resize and a square, unless they are what only a height and a width can be.
    if len(sides) == 1 and (resize != "crop" or (first, width) == file_px):
        return first, first, width
    return first, height, width
