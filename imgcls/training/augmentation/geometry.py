"""Random changes of a whole batch at once, on the device and in bytes: horizontal flip, shift, cutout.

Flip and shift are one gather: each image has a list of source rows and a list of source columns, and a flipped
image is one whose columns run backwards.

Shapes: B batch, C channels, H height, W width.
"""

import functools
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812 - the field's own name for it

Flip = Literal["off", "random", "alternate"]
Padding = Literal["reflect", "zero"]
ALL = slice(None)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to each image.

    Attributes:
        flip: whether images are flipped left and right; `alternate` leaves the choice to the caller.
        translate_px: largest shift, up or down and left or right, at full size.
        padding: what a shift brings in.
        cutout_px: side of the square that is painted over, at full size; 0 for none.
        fill: red, green and blue of the painted square, 0 to 255.
    """

    flip: Flip = "off"
    translate_px: int = 0
    padding: Padding = "reflect"
    cutout_px: int = 0
    fill: tuple[int, int, int] = (0, 0, 0)

    def scaled(self, factor: float) -> "Augmentation":
        """The same for images that are `factor` times as large; a shift stays at least one pixel."""
        return Augmentation(
            flip=self.flip,
            translate_px=max(1, round(self.translate_px * factor)) if self.translate_px else 0,
            padding=self.padding,
            cutout_px=max(1, round(self.cutout_px * factor)) if self.cutout_px else 0,
            fill=self.fill,
        )


def augment(
    images_BCHW: Tensor,
    augmentation: Augmentation,
    *,
    generator: Generator,
    flip_B: Tensor | None = None,
    batch_size: int | None = None,
    places: slice | Tensor = ALL,
) -> Tensor:
    """Change every image of a batch, or of a part of it, at random.

    Args:
        images_BCHW: uint8, shape (batch, 3, height, width); left as it is.
        augmentation: what may happen.
        generator: on the images' device; the same state gives the same changes.
        flip_B: which images to flip, bool; drawn at random where missing and `flip` isn't `off`.
        batch_size: of the whole batch, for which numbers are drawn; None where these images are all of it.
        places: of these images in the whole batch: each is changed as it would be among all.
    Returns:
        uint8, the same shape.
    """
    batch, device = images_BCHW.shape[0] if batch_size is None else batch_size, images_BCHW.device
    if flip_B is None and augmentation.flip != "off":
        flip_B = torch.rand(batch, device=device, generator=generator)[places] < 0.5
    reach = augmentation.translate_px
    if flip_B is not None or reach:
        shifts_2B = torch.randint(-reach, reach + 1, (2, batch), device=device, generator=generator) if reach else None
        down_B, right_B = shifts_2B[:, places] if shifts_2B is not None else (None, None)
        images_BCHW = move(images_BCHW, flip_B=flip_B, down_B=down_B, right_B=right_B, padding=augmentation.padding)
    if augmentation.cutout_px:
        height, width = images_BCHW.shape[-2:]
        centre_y_B = torch.randint(0, height, (batch,), device=device, generator=generator)[places]
        centre_x_B = torch.randint(0, width, (batch,), device=device, generator=generator)[places]
        images_BCHW = paint_square(
            images_BCHW, centre_y_B, centre_x_B, side_px=augmentation.cutout_px, fill=augmentation.fill
        )
    return images_BCHW


def move(
    images_BCHW: Tensor,
    *,
    flip_B: Tensor | None = None,
    down_B: Tensor | None = None,
    right_B: Tensor | None = None,
    padding: Padding = "reflect",
) -> Tensor:
    """Flip some images left and right, then shift each by its own distance.

    Args:
        images_BCHW: any type.
        flip_B: bool, which to flip; None for none of them.
        down_B: int64, in pixels, negative for up; None for no shift.
        right_B: the same, negative for left.
        padding: `reflect` mirrors at the edge without repeating it, as torch's reflection padding; `zero` is black.
    """
    batch, channels, height, width = images_BCHW.shape
    row_BH, inside_BH = _source_index(batch, height, down_B, padding, images_BCHW.device)
    col_BW, inside_BW = _source_index(batch, width, right_B, padding, images_BCHW.device)
    if flip_B is not None:
        col_BW = torch.where(flip_B[:, None], width - 1 - col_BW, col_BW)
    # One index a pixel, shared by the channels; in this layout gather is the fastest of torch's ways on the CPU.
    flat_BP = (row_BH[:, :, None] * width + col_BW[:, None, :]).view(batch, 1, height * width)
    moved_BCHW = (
        images_BCHW.reshape(batch, channels, height * width)
        .gather(2, flat_BP.expand(batch, channels, height * width))
        .view(batch, channels, height, width)
    )
    if inside_BH is not None:
        moved_BCHW.mul_(inside_BH[:, None, :, None])
    if inside_BW is not None:
        moved_BCHW.mul_(inside_BW[:, None, None, :])
    return moved_BCHW


def paint_square(
    images_BCHW: Tensor, centre_y_B: Tensor, centre_x_B: Tensor, *, side_px: int, fill: tuple[int, int, int]
) -> Tensor:
    """Paint a square over each image, cut off at the edges.

    Args:
        images_BCHW: uint8, three channels.
        centre_y_B: row of each square's centre, int64; a square of even side reaches one pixel less below.
        centre_x_B: its column, likewise.
        side_px: of the square.
        fill: its colour.
    """
    height, width = images_BCHW.shape[-2:]
    top_B, left_B = centre_y_B - side_px // 2, centre_x_B - side_px // 2
    y_H, x_W = (torch.arange(size, device=images_BCHW.device) for size in (height, width))
    in_rows_BH = (y_H >= top_B[:, None]) & (y_H < top_B[:, None] + side_px)
    in_cols_BW = (x_W >= left_B[:, None]) & (x_W < left_B[:, None] + side_px)
    square_B1HW = (in_rows_BH[:, :, None] & in_cols_BW[:, None, :])[:, None]
    return torch.where(square_B1HW, _colour(fill, images_BCHW.device), images_BCHW)


def resize_batch(images_BCHW: Tensor, size_px: tuple[int, int]) -> Tensor:
    """Shrink a batch of bytes to a height and width, antialiased; the same batch where it has that size already."""
    if images_BCHW.shape[-2:] == size_px:
        return images_BCHW
    if images_BCHW.device.type == "cpu":
        # On the CPU torch resizes bytes as they are.
        return F.interpolate(images_BCHW, size=size_px, mode="bilinear", antialias=True)
    resized = F.interpolate(images_BCHW.float(), size=size_px, mode="bilinear", antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


@functools.cache
def _colour(fill: tuple[int, int, int], device: torch.device) -> Tensor:
    # Kept, because copying three numbers to a GPU waits for everything that it still has to do.
    return torch.tensor(fill, dtype=torch.uint8, device=device).view(3, 1, 1)


def _source_index(
    batch: int, size: int, shift_B: Tensor | None, padding: Padding, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    # The row (or column) that each row comes from, and for black borders whether it lies inside of the image.
    position_S = torch.arange(size, device=device)
    if shift_B is None:
        return position_S.expand(batch, size), None
    source_BS = position_S - shift_B[:, None]
    if padding == "zero":
        return source_BS.clamp(0, size - 1), (source_BS >= 0) & (source_BS < size)
    # Triangle wave of period 2 (size - 1): right for any shift, however far.
    period = max(2 * (size - 1), 1)
    source_BS = source_BS.remainder(period)
    return torch.minimum(source_BS, period - source_BS) if size > 1 else source_BS, None
