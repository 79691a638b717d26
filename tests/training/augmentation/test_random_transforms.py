import pytest
import torch

from imgcls.training.augmentation.mixup import mixture
from imgcls.training.augmentation.random_transforms import each, erasing, policy_transform, random_crop

FILL = (120, 110, 100)


@pytest.fixture
def images_BCHW():
    """Eight times the same image, so that only the draws can tell the results apart."""
    one = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return one.repeat(8, 1, 1, 1)


TRANSFORMS = {
    "crop": random_crop((16, 16), smallest=0.3),
    "randaugment": policy_transform("randaugment", num_ops=2, magnitude=9, fill=FILL),
    "trivialaugment": policy_transform("trivialaugment", num_ops=2, magnitude=9, fill=FILL),
    "erasing": erasing(0.9, fill=FILL),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_image_has_its_own_draw_and_the_same_seed_the_same_draws(images_BCHW, name):
    before = images_BCHW.clone()
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        results.append(each(TRANSFORMS[name], images_BCHW))
    assert results[0].shape == images_BCHW.shape
    assert results[0].dtype == torch.uint8
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert len({image.numpy().tobytes() for image in results[0]}) > 4
    assert torch.equal(images_BCHW, before)


def test_a_crop_has_the_size_asked_for(images_BCHW):
    assert each(random_crop((8, 8), smallest=0.3), images_BCHW).shape == (8, 3, 8, 8)
    torch.manual_seed(0)
    whole = each(random_crop((16, 16), smallest=1.0), images_BCHW)
    # Rectangles of another shape than the image's have less than its whole area.
    assert (whole.float() - images_BCHW.float()).abs().mean() < 60


def test_erasing_paints_a_rectangle_of_the_mean_colour(images_BCHW):
    torch.manual_seed(0)
    colour = torch.tensor(FILL, dtype=torch.uint8)[:, None, None]
    for erased, image in zip(each(erasing(1.0, fill=FILL), images_BCHW), images_BCHW, strict=True):
        painted_HW = (erased == colour).all(0)
        rows, columns = painted_HW.any(1), painted_HW.any(0)
        assert 0.01 < painted_HW.float().mean() < 0.4
        assert torch.equal(painted_HW, rows[:, None] & columns)
        assert torch.equal(erased[:, ~painted_HW], image[:, ~painted_HW])
    assert torch.equal(each(erasing(0.0, fill=FILL), images_BCHW), images_BCHW)


def test_mixup_blends_images_and_labels_alike():
    torch.manual_seed(0)
    images_BCHW, labels_B = torch.rand(4, 3, 5, 5), torch.tensor([0, 1, 2, 0])
    mixed_BCHW, target_BK = mixture(mixup=1.0, cutmix=0.0, num_classes=3)(images_BCHW, labels_B)
    share = target_BK[0, 0].item() if labels_B[0] != labels_B[-1] else target_BK[1, 1].item()
    assert 0 < share < 1
    torch.testing.assert_close(mixed_BCHW, share * images_BCHW + (1 - share) * images_BCHW.roll(1, 0))
    one_hot_BK = torch.eye(3)[labels_B]
    torch.testing.assert_close(target_BK, share * one_hot_BK + (1 - share) * one_hot_BK.roll(1, 0))


def test_cutmix_labels_are_the_shares_of_the_area():
    torch.manual_seed(0)
    images_BCHW = torch.arange(4.0)[:, None, None, None].expand(4, 3, 10, 10)
    mixed_BCHW, target_BK = mixture(mixup=0.0, cutmix=1.0, num_classes=4)(images_BCHW, torch.arange(4))
    for mixed_CHW, target_K, index in zip(mixed_BCHW, target_BK, range(4), strict=True):
        own = (mixed_CHW == index).float().mean()
        assert target_K[index] == pytest.approx(own.item())
        assert target_K[index - 1] == pytest.approx(1 - own.item())


def test_with_both_each_batch_takes_one():
    mix = mixture(mixup=1.0, cutmix=1.0, num_classes=2)
    torch.manual_seed(0)
    images_BCHW = torch.zeros(2, 3, 8, 8)
    images_BCHW[1] = 1.0
    kinds = set()
    for _ in range(30):
        mixed_BCHW, target_BK = mix(images_BCHW, torch.tensor([0, 1]))
        assert target_BK.sum(1).tolist() == pytest.approx([1, 1])
        kinds.add(bool(((mixed_BCHW > 0) & (mixed_BCHW < 1)).any()))
    assert kinds == {True, False}


def test_there_is_no_policy_of_another_name():
    with pytest.raises(ValueError, match="no policy: off"):
        policy_transform("off", num_ops=2, magnitude=9, fill=FILL)
