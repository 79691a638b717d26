"""One preprocessing for validation, eval, predict and export: resize, centre crop, normalise.

The geometry runs on the decoded image with Pillow, in whichever thread decoded it, and ends in bytes; the arithmetic
runs once a batch where the network lives. The numbers are those of torchvision's classification presets on a Pillow
image, without the second that importing torchvision costs.

Shapes: B batch, H height, W width, C channels (3).
"""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image

from imgcls.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Floats = np.ndarray[Any, np.dtype[np.float32]]

# A thread a pixel wide would be blown up to a ribbon of gigabytes before its middle is cut out; beyond so many pixels
# (1 x 1,024 at 256) only the middle is made.
MAX_RESIZED_PIXELS = 1 << 26

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Transform:
    """What happens to an image between decoding and the network.

    Attributes:
        resize_px: the shorter side after resizing; the other follows in proportion.
        crop_px: side of the square cut from the centre; larger than the image means black borders.
        mean: per channel (red, green, blue), on the scale where white is 1.
        std: per channel, on the same scale.
        interpolation: Pillow's filter; all but `nearest` are antialiased.
    """

    resize_px: int
    crop_px: int
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: Interpolation = "bilinear"

    def crop(self, image: Image.Image) -> Pixels:
        """Resize the shorter side and cut the centre.

        Args:
            image: mode RGB, any size.
        Returns:
            Bytes of shape (crop_px, crop_px, 3).
        Source: torchvision.transforms.functional.resize and center_crop on Pillow images.
        """
        width, height = self.resized_size(*image.size)
        if width * height > MAX_RESIZED_PIXELS:
            image = self._resize_middle(image, width, height)
            width, height = image.size
        elif (width, height) != image.size:
            image = image.resize((width, height), getattr(Image.Resampling, self.interpolation.upper()))
        left, top = self._crop_start(width), self._crop_start(height)
        if (left, top, width, height) != (0, 0, self.crop_px, self.crop_px):
            image = image.crop((left, top, left + self.crop_px, top + self.crop_px))
        return np.asarray(image, dtype=np.uint8)

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after the resize, in pixels."""
        short, long = sorted((width, height))
        scaled = max(self.crop_px if short == 0 else int(self.resize_px * long / short), 1)
        return (self.resize_px, scaled) if width <= height else (scaled, self.resize_px)

    def _resize_middle(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """Resize, but of the longer side only what the crop keeps; the same pixels up to rounding."""
        filter_ = getattr(Image.Resampling, self.interpolation.upper())
        start = self._crop_start(max(width, height))
        scale = max(image.size) / max(width, height)
        first, last = start * scale, min((start + self.crop_px) * scale, max(image.size))
        if width > height:
            return image.resize((self.crop_px, height), filter_, box=(first, 0, last, image.height))
        return image.resize((width, self.crop_px), filter_, box=(0, first, image.width, last))

    def _crop_start(self, size: int) -> int:
        # torchvision rounds towards even where it cuts, and down where it adds a border first.
        beyond = size - self.crop_px
        return round(beyond / 2) if beyond >= 0 else -(-beyond // 2)

    def normalise(self, images_BCHW: Tensor) -> Tensor:
        """Turn bytes into the network's input, on whatever device they are.

        Args:
            images_BCHW: uint8, shape (batch, 3, height, width).
        Returns:
            float32, the same shape and memory format.
        """
        # On the CPU they cost a microsecond; an accelerator would wait for each copy, so there they are kept.
        device = images_BCHW.device
        constants = _channel_constants.__wrapped__ if device.type == "cpu" else _channel_constants
        mean, std = constants(self.mean, device), constants(self.std, device)
        return images_BCHW.float().div_(255).sub_(mean).div_(std)

    def normalise_array(self, images_BHWC: Pixels) -> Floats:
        """The same arithmetic without torch: (batch, height, width, 3) bytes to (batch, 3, height, width) float32."""
        scaled = np.ascontiguousarray(images_BHWC.transpose(0, 3, 1, 2)).astype(np.float32)
        scaled /= np.float32(255)
        scaled -= np.asarray(self.mean, np.float32).reshape(3, 1, 1)
        scaled /= np.asarray(self.std, np.float32).reshape(3, 1, 1)
        return scaled

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and records."""
        values = asdict(self)
        values["mean"], values["std"] = list(self.mean), list(self.std)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Transform:
        """The transform that `to_dict` described.

        Raises:
            ModelError: a field is missing, unknown or of the wrong kind.
        """
        try:
            if set(values) != {field.name for field in fields(cls)}:
                raise ValueError(f"its fields are {', '.join(map(str, values))}")
            sizes = [values["resize_px"], values["crop_px"]]
            if not all(type(size) is int and size >= 1 for size in sizes):
                raise ValueError("sizes must be whole numbers of at least 1")
            mean, std = (tuple(float(number) for number in values[key]) for key in ("mean", "std"))
            if len(mean) != 3 or len(std) != 3 or not all(map(math.isfinite, mean + std)) or min(std) <= 0:
                raise ValueError("mean and std take three finite numbers, those of std above 0")
            if values["interpolation"] not in get_args(Interpolation):
                raise ValueError(f"interpolation must be one of {', '.join(get_args(Interpolation))}")
            return cls(sizes[0], sizes[1], mean=mean, std=std, interpolation=values["interpolation"])
        except (KeyError, TypeError, ValueError) as exc:
            raise ModelError(f"the stored transform can't be read: {exc}", hint="write the checkpoint again") from exc


@functools.cache
def _channel_constants(values: tuple[float, float, float], device: torch.device) -> Tensor:
    import torch

    return torch.tensor(values, dtype=torch.float32, device=device).view(3, 1, 1)
