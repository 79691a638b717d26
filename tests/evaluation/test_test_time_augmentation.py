"""Averaging over views: against values made by hand, and properties that any network has."""

import pytest
import torch
from torch import Tensor, nn

from imgcls.errors import ConfigError
from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation, averaged_logits
from imgcls.images.views import shift_px

FLIP, FLIP_SHIFT = TestTimeAugmentation


class Corner(nn.Module):
    """One logit: the image's top left pixel. A second one: the sum of all pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, input_BCHW: Tensor) -> Tensor:
        self.seen.append(tuple(input_BCHW.shape))
        return torch.stack([input_BCHW[:, 0, 0, 0], input_BCHW.sum((1, 2, 3))], 1)


def numbered() -> Tensor:
    """Pixels 0 to 8, row by row."""
    return torch.arange(9.0).view(1, 1, 3, 3)


def test_by_hand() -> None:
    corner = Corner()
    # Flipped, the top right pixel, 2, comes to the corner.
    assert averaged_logits(corner, numbered(), FLIP)[0, 0] == (0 + 2) / 2
    # Moved by a pixel, reflection brings the middle, 4, into the corner; moved the other way, it is the middle itself.
    # Likewise for the horizontal flip.
    assert averaged_logits(corner, numbered(), FLIP_SHIFT)[0, 0] == (0 + 2) / 4 + (4 + 4 + 4 + 4) / 8
    assert averaged_logits(corner, numbered(), None)[0, 0] == 0


def test_views_have_the_images_size_and_are_as_many_as_said() -> None:
    for tta in TestTimeAugmentation:
        corner = Corner()
        averaged_logits(corner, torch.rand(2, 3, 64, 64), tta)
        assert corner.seen == [(2, 3, 64, 64)] * tta.num_views


def test_weights_add_up_to_one() -> None:
    class Constant(nn.Module):
        def forward(self, input_BCHW: Tensor) -> Tensor:
            return torch.full((len(input_BCHW), 3), 0.7)

    for tta in TestTimeAugmentation:
        torch.testing.assert_close(averaged_logits(Constant(), torch.rand(2, 3, 8, 8), tta), torch.full((2, 3), 0.7))


def test_an_image_and_its_mirror_image_get_the_same_answer() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))
    images = torch.rand(4, 3, 8, 8)
    for tta in TestTimeAugmentation:
        torch.testing.assert_close(
            averaged_logits(network, images, tta), averaged_logits(network, images.flip(-1), tta)
        )


def test_the_shift_grows_with_the_image() -> None:
    assert [shift_px(side) for side in (8, 32, 64, 224)] == [1, 1, 2, 7]


def test_a_single_pixel_cannot_be_shifted() -> None:
    with pytest.raises(ConfigError, match="can't be shifted"):
        averaged_logits(Corner(), torch.zeros(1, 1, 1, 1), FLIP_SHIFT)
