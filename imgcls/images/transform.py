"""One preprocessing for validation, eval, predict and export: resize, crop or pad, channels, normalise.

The geometry runs on the decoded image with Pillow, in whichever thread decoded it, and ends in bytes; the arithmetic
runs once a batch where the network lives. The numbers are those of torchvision's classification presets on a Pillow
image, without the second that importing torchvision costs.

Shapes: B batch, H height, W width, C channels (1 or 3).
"""

from __future__ import annotations

import functools
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from imgcls.errors import ModelError
from imgcls.host.terminal_text import printable
from imgcls.images.transform_values import RGB, Channels, Interpolation, Resize, check_values

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float32]]

# A thread a pixel wide would be blown up to a ribbon of gigabytes before its middle is cut out; beyond so many pixels
# (1 x 1,024 at 256) only the middle is made.
MAX_RESIZED_PIXELS = 1 << 26

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Weights of red, green and blue in a grey of 16 fractional bits, as Pillow's convert("L") has them (ITU-R 601-2).
GREY_WEIGHTS = (19595, 38470, 7471)


@dataclass(frozen=True, slots=True)
class Transform:
    """What happens to an image between decoding and the network.

    Attributes:
        resize_px: height of the box that the resize aims at; its width is in proportion to the network's input. For
            square input with `crop` that is the shorter side after resizing.
        crop_px: height of what the network sees, cut from the centre; larger than the resized image means borders.
        mean: per channel, in the network's order, on the scale of `scale`.
        std: per channel, on the same scale.
        interpolation: Pillow's filter; all but `nearest` are antialiased.
        crop_width_px: width of what the network sees; None where it is square.
        resize: how an image of another shape meets the box: `crop` covers it and loses the borders, `squash` distorts,
            `pad` fits the whole image in.
        pad_rgb: colour of borders, 0 to 255.
        channels: `rgb`, `bgr`, or one channel of `grey`.
        scale: what white is before mean and std, 1 or 255.
        background_rgb: what lies behind transparent images, 0 to 255; None shows the colours below the transparency, as
            Pillow's conversion to RGB does.
        depth_bits: how many bits of deep grey integers are used, such as 12 in files of 16; None for what files say.
        accepts_truncated: JPEGs that lack their last bytes are taken too, with grey in their place.
    """

    resize_px: int
    crop_px: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"
    crop_width_px: int | None = None
    resize: Resize = "crop"
    pad_rgb: RGB = (0, 0, 0)
    channels: Channels = "rgb"
    scale: int = 1
    background_rgb: RGB | None = None
    depth_bits: int | None = None
    accepts_truncated: bool = False

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of what the network sees."""
        return self.crop_px, self.crop_width_px or self.crop_px

    def scaled_size(self, height_px: int) -> tuple[int, int]:
        """Height and width of the same shape at another height."""
        height, width = self.size_px
        return height_px, max(round(height_px * width / height), 1)

    @property
    def num_channels(self) -> int:
        """Of what the network sees."""
        return 1 if self.channels == "grey" else 3

    def crop(self, image: Image.Image) -> Pixels:
        """Bring an image to the network's size.

        Args:
            image: mode RGB, any size.
        Returns:
            Bytes of shape (*size_px, 3), red, green and blue whatever `channels` says.
        Source: torchvision.transforms.functional.resize and center_crop on Pillow images.
        """
        if self.resize_px == self.crop_px and image.size == (self.crop_width_px or self.crop_px, self.crop_px):
            return np.asarray(image, dtype=np.uint8)
        width, height = self.resized_size(*image.size)
        if width * height > MAX_RESIZED_PIXELS:
            image = self._resize_middle(image, width, height)
            width, height = image.size
        elif (width, height) != image.size:
            image = image.resize((width, height), getattr(Image.Resampling, self.interpolation.upper()))
        crop_height, crop_width = self.size_px
        left, top = crop_start(width, crop_width), crop_start(height, crop_height)
        if min(left, top) < 0 and any(self.pad_rgb):
            bordered = Image.new("RGB", (crop_width, crop_height), self.pad_rgb)
            bordered.paste(image, (-left, -top))
            image = bordered
        elif (left, top, width, height) != (0, 0, crop_width, crop_height):
            image = image.crop((left, top, left + crop_width, top + crop_height))
        return np.asarray(image, dtype=np.uint8)

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the resize, in pixels."""
        box_height, box_width = self.scaled_size(self.resize_px)
        if self.resize == "squash" or min(width, height) == 0:
            return box_width, box_height
        is_wide = width * box_height > height * box_width
        if self.resize == "pad":
            if is_wide:
                return box_width, max(round(box_width * height / width), 1)
            return max(round(box_height * width / height), 1), box_height
        # torchvision rounds down here.
        if is_wide:
            return max(int(box_height * width / height), 1), box_height
        return box_width, max(int(box_width * height / width), 1)

    @property
    def smallest_px(self) -> int:
        """What the shorter side of an image needs so that the resize never enlarges it."""
        return max(self.scaled_size(self.resize_px))

    def _resize_middle(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """Resize, but of the longer side only what the crop keeps; the same pixels up to rounding."""
        filter_ = getattr(Image.Resampling, self.interpolation.upper())
        is_wide = image.width > image.height
        crop = self.size_px[is_wide]
        start = crop_start(max(width, height), crop)
        scale = max(image.size) / max(width, height)
        first, last = start * scale, min((start + crop) * scale, max(image.size))
        if is_wide:
            return image.resize((crop, height), filter_, box=(first, 0, last, image.height))
        return image.resize((width, crop), filter_, box=(0, first, image.width, last))

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        """Turn bytes into the network's input, on whatever device they are.

        Args:
            images_BCHW: uint8, shape (batch, 3, height, width), red, green and blue.
        Returns:
            float32, shape (batch, num_channels, height, width), the same memory format.
        """
        # On the CPU they cost a microsecond; an accelerator would wait for each copy.
        device = images_BCHW.device
        constants = _channel_constants.__wrapped__ if device.type == "cpu" else _channel_constants
        mean, std = constants(self.mean, device), constants(self.std, device)
        if self.channels == "bgr":
            images_BCHW = images_BCHW.flip(1)
        elif self.channels == "grey":
            red, green, blue = (weight * images_BCHW[:, i : i + 1].int() for i, weight in enumerate(GREY_WEIGHTS))
            images_BCHW = (red + green + blue + 0x8000) >> 16
        scaled = images_BCHW.float()
        return (scaled.div_(255) if self.scale == 1 else scaled).sub_(mean).div_(std)

    def normalise_array(self, images_BHWC: Pixels) -> Floats:
        """The same arithmetic without torch: (batch, height, width, 3) bytes to (batch, channels, height, width)."""
        scaled = np.ascontiguousarray(self.channels_array(images_BHWC).transpose(0, 3, 1, 2)).astype(np.float32)
        if self.scale == 1:
            scaled /= np.float32(255)
        scaled -= np.asarray(self.mean, np.float32).reshape(-1, 1, 1)
        scaled /= np.asarray(self.std, np.float32).reshape(-1, 1, 1)
        return scaled

    def channels_array(self, images_BHWC: Pixels) -> Pixels:
        """Red, green and blue bytes as the channels that the network takes, for networks that take bytes too."""
        if self.channels == "bgr":
            return images_BHWC[..., ::-1]
        if self.channels == "grey":
            weighted_BHW = images_BHWC.astype(np.int32) @ np.asarray(GREY_WEIGHTS, np.int32)
            return ((weighted_BHW + 0x8000) >> 16).astype(np.uint8)[..., None]
        return images_BHWC

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and records; of what came after version 0.1 only what differs from it."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in FIRST_FIELDS or value != field.default:
                values[field.name] = list(value) if isinstance(value, tuple) else value
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Transform:
        """The transform that `to_dict` described.

        Raises:
            ModelError: a field is missing, unknown or of the wrong kind.
        """
        try:
            if not isinstance(values, dict):
                raise TypeError("it is no table of values")
            known = {field.name for field in fields(cls)}
            if not set(FIRST_FIELDS) <= set(values) <= known:
                raise ValueError(f"its fields are {printable(', '.join(map(str, values)))}")
            defaults = {field.name: field.default for field in fields(cls) if field.default is not MISSING}
            full = {**defaults, **values}
            for key in ("mean", "std", "pad_rgb"):
                full[key] = tuple(full[key])
            if full["background_rgb"] is not None:
                full["background_rgb"] = tuple(full["background_rgb"])
            return cls(**full).check()
        except (KeyError, TypeError, ValueError) as exc:
            raise ModelError(f"the stored transform can't be read: {exc}", hint="write the checkpoint again") from exc

    def check(self) -> Transform:
        """The same, once its values, which come from a file or a person, have been checked.

        Raises:
            ValueError: one is of the wrong kind or out of range.
        """
        check_values(self)
        return self


# What every stored transform has.
FIRST_FIELDS = ("resize_px", "crop_px", "mean", "std", "interpolation")


def crop_start(size: int, crop: int) -> int:
    """Where the crop of a side begins, in pixels; below 0 where it is longer than the side."""
    # torchvision rounds towards even where it cuts, and down where it adds a border first.
    beyond = size - crop
    return round(beyond / 2) if beyond >= 0 else -(-beyond // 2)


@functools.cache
def _channel_constants(values: tuple[float, ...], device: torch.device) -> Tensor:
    import torch

    return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)
