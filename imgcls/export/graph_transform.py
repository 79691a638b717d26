"""A transform as part of a graph: decoded RGB bytes of any size in, the network's input out.

Pillow's resize is two products with matrices that depend on the sizes alone: along rows first, then along columns, each
rounded to bytes. Written so, it needs nothing of a runtime but products, whatever filter and whatever size, and only
what the crop keeps is made.

Shapes: B batch, H height, W width, C channels (3 in the image; 1 or 3 in the input), R rows or columns of the crop.
"""

import math

import torch
from torch import Tensor, nn

from imgcls.errors import UsageError
from imgcls.images.transform import GREY_WEIGHTS, Transform
from imgcls.images.transform_values import Interpolation

# How far each filter of Pillow's reaches, in pixels of the smaller of both images.
SUPPORT: dict[Interpolation, float] = {"box": 0.5, "bilinear": 1.0, "hamming": 1.0, "bicubic": 2.0, "lanczos": 3.0}


class GraphTransform(nn.Module):
    """Resize, crop and normalisation, for graphs that are exported.

    Args:
        transform: what to do.
    Raises:
        UsageError: the filter is one that no graph is made of.
    Shapes:
        pixels_BHWC uint8 (batch, height, width, 3), any size, to (batch, C, *transform.size_px) float32.
    """

    mean: Tensor
    std: Tensor
    pad: Tensor

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        if transform.interpolation not in SUPPORT:
            raise UsageError(
                f"the resize of this model is {transform.interpolation!r}, which can't be part of a graph",
                hint="leave out --with-transform",
            )
        self.transform = transform
        self.register_buffer("mean", torch.tensor(transform.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(transform.std).view(-1, 1, 1))
        self.register_buffer("pad", torch.tensor(transform.pad_rgb, dtype=torch.float32).view(1, 3, 1, 1))

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """The network's input."""
        transform = self.transform
        images_BCHW = pixels_BHWC.permute(0, 3, 1, 2).float()
        height, width = images_BCHW.shape[2], images_BCHW.shape[3]
        # As tensors, so that one graph serves all sizes: the length of a range is the size.
        columns_W = torch.arange(width, dtype=torch.float32, device=pixels_BHWC.device)
        rows_H = torch.arange(height, dtype=torch.float32, device=pixels_BHWC.device)
        width_1, height_1 = columns_W[-1:] + 1, rows_H[-1:] + 1
        resized_height_1, resized_width_1 = _resized(transform, height_1, width_1)
        crop_height, crop_width = transform.size_px
        across_RW, has_column_R = _matrix(columns_W, width_1, resized_width_1, crop_width, transform.interpolation)
        down_RH, has_row_R = _matrix(rows_H, height_1, resized_height_1, crop_height, transform.interpolation)
        narrowed = _to_bytes(images_BCHW @ across_RW.T)
        cropped = _to_bytes(down_RH @ narrowed)
        if transform.resize == "pad" or transform.crop_px > transform.resize_px:
            is_image_RR = has_row_R[:, None] * has_column_R[None, :]
            cropped = cropped * is_image_RR + self.pad * (1 - is_image_RR)
        return self._normalised(cropped)

    def _normalised(self, cropped_BCRR: Tensor) -> Tensor:
        if self.transform.channels == "bgr":
            cropped_BCRR = cropped_BCRR.flip(1)
        elif self.transform.channels == "grey":
            red, green, blue = (weight * cropped_BCRR[:, i : i + 1] for i, weight in enumerate(GREY_WEIGHTS))
            # Below 2**24, so that float32 holds it exactly.
            cropped_BCRR = ((red + green + blue + 0x8000) / 0x10000).floor()
        scaled = cropped_BCRR / 255 if self.transform.scale == 1 else cropped_BCRR
        return (scaled - self.mean) / self.std


class WithTransform(nn.Module):
    """A network behind its transform.

    Args:
        network: takes normalised images.
        transform: of its images.
    Shapes:
        pixels_BHWC uint8 to logits_BK float32.
    """

    def __init__(self, network: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.prepare, self.network = GraphTransform(transform), network
        self.eval()

    def forward(self, pixels_BHWC: Tensor) -> Tensor:
        """Logits."""
        logits_BK: Tensor = self.network(self.prepare(pixels_BHWC))
        return logits_BK


def _resized(transform: Transform, height_1: Tensor, width_1: Tensor) -> tuple[Tensor, Tensor]:
    """Height and width after the resize, as `Transform.resized_size` has them."""
    box_height, box_width = (float(side) for side in transform.scaled_size(transform.resize_px))
    if transform.resize == "squash":
        return torch.full_like(height_1, box_height), torch.full_like(width_1, box_width)
    is_wide = width_1 * box_height > height_1 * box_width
    # A quotient of whole numbers that float32 rounds up to the next one would be a pixel too many.
    high, wide = box_width * height_1 / width_1, box_height * width_1 / height_1
    if transform.resize == "pad":
        height = torch.where(is_wide, high.round().clamp(min=1), torch.full_like(high, box_height))
        return height, torch.where(is_wide, torch.full_like(wide, box_width), wide.round().clamp(min=1))
    height = torch.where(is_wide, torch.full_like(high, box_height), (high + 1e-4).floor().clamp(min=1))
    return height, torch.where(is_wide, (wide + 1e-4).floor().clamp(min=1), torch.full_like(wide, box_width))


def _matrix(
    positions_W: Tensor, size_1: Tensor, resized_1: Tensor, crop: int, interpolation: Interpolation
) -> tuple[Tensor, Tensor]:
    """Weights of a side's pixels in each pixel of the crop, shape (crop, side), and which of those lie in the image."""
    beyond_1 = resized_1 - crop
    # Rounded towards even where it cuts, and up where it adds a border.
    start_1 = torch.where(beyond_1 >= 0, (beyond_1 / 2).round(), (beyond_1 / 2).ceil())
    place_R = torch.arange(crop, dtype=torch.float32, device=positions_W.device) + start_1
    is_image_R = ((place_R >= 0) & (place_R < resized_1)).float()
    scale_1 = size_1 / resized_1
    stretch_1 = scale_1.clamp(min=1)
    centre_R1 = ((place_R + 0.5) * scale_1)[:, None]
    reach_1 = SUPPORT[interpolation] * stretch_1
    # Pillow begins and ends at whole pixels, which cuts what lies beyond by less than one.
    first_R1, end_R1 = (centre_R1 - reach_1 + 0.5).floor(), (centre_R1 + reach_1 + 0.5).floor()
    is_near_RW = ((positions_W >= first_R1) & (positions_W < end_R1)).float()
    weights_RW = _filter((positions_W - centre_R1 + 0.5) / stretch_1, interpolation) * is_near_RW
    sums_R1 = weights_RW.sum(dim=1, keepdim=True)
    # Rows beyond the image have no weight at all.
    return weights_RW / torch.where(sums_R1 == 0, torch.ones_like(sums_R1), sums_R1), is_image_R


def _filter(x: Tensor, interpolation: Interpolation) -> Tensor:
    if interpolation == "box":
        return ((x > -0.5) & (x <= 0.5)).float()
    x = x.abs()
    if interpolation == "bilinear":
        return (1 - x).clamp(min=0)
    if interpolation == "bicubic":
        # Keys (1981) with a = -0.5.
        inner, outer = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
        return torch.where(x < 1, inner, torch.where(x < 2, outer, torch.zeros_like(x)))
    if interpolation == "hamming":
        return torch.where(x < 1, _sinc(x) * (0.54 + 0.46 * (math.pi * x).cos()), torch.zeros_like(x))
    return torch.where(x < 3, _sinc(x) * _sinc(x / 3), torch.zeros_like(x))


def _sinc(x: Tensor) -> Tensor:
    angle = math.pi * torch.where(x == 0, torch.ones_like(x), x)
    return torch.where(x == 0, torch.ones_like(x), angle.sin() / angle)


def _to_bytes(values: Tensor) -> Tensor:
    """Rounded as Pillow rounds, halves up, and held to what a byte holds."""
    return (values + 0.5).floor().clamp(0, 255)
