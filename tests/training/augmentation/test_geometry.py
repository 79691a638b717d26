import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from imgcls.training.augmentation.geometry import Augmentation, augment, move, paint_square, resize_batch


@pytest.fixture
def images_BCHW():
    return torch.randint(0, 256, (6, 3, 7, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_flipping_twice_is_the_identity(images_BCHW):
    flip_B = torch.tensor([True, False, True, True, False, False])
    once = move(images_BCHW, flip_B=flip_B)
    assert torch.equal(once[0], images_BCHW[0].flip(2))
    assert torch.equal(once[1], images_BCHW[1])
    assert torch.equal(move(once, flip_B=flip_B), images_BCHW)


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_a_shift_by_nothing_is_the_identity(images_BCHW, padding):
    zero_B = torch.zeros(6, dtype=torch.int64)
    assert torch.equal(move(images_BCHW, down_B=zero_B, right_B=zero_B, padding=padding), images_BCHW)


@pytest.mark.parametrize("padding", ["reflect", "zero"])
def test_one_gather_equals_flip_pad_and_crop_of_each_image(images_BCHW, padding):
    reach = 4
    flip_B = torch.rand(6, generator=seeded()) < 0.5
    down_B, right_B = torch.randint(-reach, reach + 1, (2, 6), generator=seeded())
    moved = move(images_BCHW, flip_B=flip_B, down_B=down_B, right_B=right_B, padding=padding)
    height, width = images_BCHW.shape[-2:]
    for image, flip, down, right, result in zip(images_BCHW, flip_B, down_B, right_B, moved, strict=True):
        flipped = image.flip(2) if flip else image
        mode = "reflect" if padding == "reflect" else "constant"
        padded = F.pad(flipped[None].float(), (reach,) * 4, mode=mode)[0].to(torch.uint8)
        # An image that moves down shows what was above it.
        assert torch.equal(result, padded[:, reach - down :, reach - right :][:, :height, :width])


def test_a_shift_of_two_pixels_by_hand():
    row = torch.tensor([[[[1, 2, 3, 4]]]], dtype=torch.uint8)
    two = torch.tensor([2])
    assert move(row, right_B=two).flatten().tolist() == [3, 2, 1, 2]
    assert move(row, right_B=-two).flatten().tolist() == [3, 4, 3, 2]
    assert move(row, right_B=two, padding="zero").flatten().tolist() == [0, 0, 1, 2]


def test_a_shift_beyond_the_image_stays_inside_of_it(images_BCHW):
    far_B = torch.full((6,), 40)
    moved = move(images_BCHW, down_B=far_B, right_B=-far_B)
    assert set(moved[0].flatten().tolist()) <= set(images_BCHW[0].flatten().tolist())
    assert not move(images_BCHW, down_B=far_B, padding="zero").any()


def test_channels_last_images_give_the_same(images_BCHW):
    flip_B = torch.ones(6, dtype=torch.bool)
    laid_out = images_BCHW.contiguous(memory_format=torch.channels_last)
    assert torch.equal(move(laid_out, flip_B=flip_B), move(images_BCHW, flip_B=flip_B))


@pytest.mark.parametrize(("side_px", "expected"), [(1, 1), (2, 4), (3, 9)])
def test_a_square_in_the_middle_has_its_whole_area(images_BCHW, side_px, expected):
    painted = paint_square(
        torch.zeros_like(images_BCHW), torch.full((6,), 3), torch.full((6,), 4), side_px=side_px, fill=(9, 8, 7)
    )
    assert (painted != 0).sum((2, 3)).tolist() == [[expected] * 3] * 6
    assert painted[0].amax((1, 2)).tolist() == [9, 8, 7]


def test_a_square_at_the_corner_is_cut_off(images_BCHW):
    corner_B = torch.zeros(6, dtype=torch.int64)
    painted = paint_square(torch.zeros_like(images_BCHW), corner_B, corner_B, side_px=3, fill=(1, 1, 1))
    assert int(painted[0, 0].sum()) == 4


def test_nothing_asked_for_changes_nothing(images_BCHW):
    assert augment(images_BCHW, Augmentation(), generator=seeded()) is images_BCHW


def test_the_same_generator_state_gives_the_same_images(images_BCHW):
    everything = Augmentation(flip="random", translate_px=2, cutout_px=3, fill=(5, 5, 5))
    before = images_BCHW.clone()
    first, again, other = (augment(images_BCHW, everything, generator=seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images_BCHW, before)
    assert first.dtype == torch.uint8


def test_shifts_reach_every_distance_and_no_further():
    marked = torch.zeros(400, 3, 11, 11, dtype=torch.uint8)
    marked[:, :, 5, 5] = 255
    moved = augment(marked, Augmentation(translate_px=2, padding="zero"), generator=seeded())
    rows, columns = moved[:, 0].amax(2).argmax(1), moved[:, 0].amax(1).argmax(1)
    assert set(rows.tolist()) == set(columns.tolist()) == {3, 4, 5, 6, 7}


def test_the_callers_choice_of_flips_is_taken(images_BCHW):
    flip_B = torch.ones(6, dtype=torch.bool)
    flipped = augment(images_BCHW, Augmentation(flip="alternate"), generator=seeded(), flip_B=flip_B)
    assert torch.equal(flipped, images_BCHW.flip(3))


def test_small_images_get_small_changes_but_never_none():
    full = Augmentation(flip="random", translate_px=4, cutout_px=8, fill=(1, 2, 3))
    assert full.scaled(0.5) == Augmentation(flip="random", translate_px=2, cutout_px=4, fill=(1, 2, 3))
    assert full.scaled(0.05).translate_px == 1
    assert Augmentation().scaled(0.5) == Augmentation()


def test_resizing_keeps_bytes_and_the_mean(images_BCHW):
    large = images_BCHW.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :28, :28]
    small = resize_batch(large, (14, 14))
    assert small.shape == (6, 3, 14, 14)
    assert small.dtype == torch.uint8
    torch.testing.assert_close(small.float().mean(), large.float().mean(), atol=2, rtol=0)
    assert resize_batch(large, (28, 28)) is large
