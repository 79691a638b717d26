"""The transform against torchvision's own preset."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from imgcls.errors import ModelError
from imgcls.images.transform import FIRST_FIELDS, IMAGENET_MEAN, IMAGENET_STD, Transform

# Portrait, landscape, square, already right, off by one, smaller than the crop, one pixel, a strip.
SIZES = [
    (500, 375), (375, 500), (256, 256), (224, 224), (257, 255), (640, 479), (97, 31), (1, 1), (2, 300), (333, 223),
    (30, 30), (225, 1001), (227, 230),
]  # fmt: skip


def random_image(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def torchvisions(transform: Transform) -> ImageClassification:
    return ImageClassification(
        crop_size=transform.crop_px,
        resize_size=transform.resize_px,
        mean=transform.mean,
        std=transform.std,
        interpolation=InterpolationMode(transform.interpolation),
    )


def ours(transform: Transform, image: Image.Image) -> torch.Tensor:
    return transform.normalise(torch.from_numpy(transform.crop(image).copy()).permute(2, 0, 1)[None])[0]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    "transform",
    [
        Transform(256, 224),
        Transform(232, 224, interpolation="bicubic"),
        Transform(64, 64, mean=(0.5, 0.4, 0.3), std=(0.2, 0.1, 0.9), interpolation="nearest"),
        Transform(33, 32, interpolation="lanczos"),
        Transform(40, 31, interpolation="box"),
        # A crop beyond the resized image: black borders, of which an odd one goes to the right and below.
        Transform(29, 32),
        Transform(30, 33),
        Transform(32, 47),
    ],
    ids=str,
)
def test_equals_torchvisions_preset(transform, size):
    image = random_image(*size)
    assert_close(ours(transform, image), torchvisions(transform)(image), rtol=0, atol=1e-6)


def test_many_odd_sizes():
    rng = np.random.default_rng(7)
    for seed in range(60):
        width, height, resize_px, crop_px = (int(n) for n in rng.integers(1, 90, 4))
        transform = Transform(resize_px, crop_px)
        image = random_image(width, height, seed)
        assert_close(
            ours(transform, image),
            torchvisions(transform)(image),
            rtol=0,
            atol=1e-6,
            msg=lambda text, case=(width, height, transform): f"{case}: {text}",
        )


def test_normalise_by_hand():
    white, black = (torch.full((1, 3, 1, 1), value, dtype=torch.uint8) for value in (255, 0))
    transform = Transform(1, 1, mean=(0.5, 0.25, 0), std=(0.5, 0.25, 2))
    assert transform.normalise(white).flatten().tolist() == [1, 3, 0.5]
    assert transform.normalise(black).flatten().tolist() == [-1, -1, 0]


def test_normalise_array_is_the_same_arithmetic():
    pixels_BHWC = np.random.default_rng(1).integers(0, 256, (3, 7, 5, 3), dtype=np.uint8)
    transform = Transform(256, 224)
    from_torch = transform.normalise(torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2))
    from_numpy = transform.normalise_array(pixels_BHWC)
    assert from_numpy.dtype == np.float32
    assert from_numpy.flags.c_contiguous
    assert_close(torch.from_numpy(from_numpy), from_torch.contiguous(), rtol=0, atol=1e-6)


def test_normalise_leaves_its_input_and_keeps_the_layout():
    images_BCHW = torch.full((2, 3, 4, 5), 9, dtype=torch.uint8).to(memory_format=torch.channels_last)
    result = Transform(4, 4).normalise(images_BCHW)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert images_BCHW.unique().tolist() == [9]


def test_crop_shape_and_type():
    crop = Transform(20, 16).crop(random_image(50, 30))
    assert crop.shape == (16, 16, 3)
    assert crop.dtype == np.uint8


def test_round_trip():
    transform = Transform(232, 224, mean=(0.1, 0.2, 0.3), std=(1, 2, 3), interpolation="bicubic")
    assert Transform.from_dict(transform.to_dict()) == transform
    assert Transform.from_dict(Transform(8, 8).to_dict()).mean == IMAGENET_MEAN
    assert Transform.from_dict(Transform(8, 8).to_dict()).std == IMAGENET_STD


@pytest.mark.parametrize(
    "change",
    [
        {"resize_px": 0},
        {"crop_px": -1},
        {"crop_px": None},
        {"crop_px": "wide"},
        {"resize_px": 1.5},
        {"mean": [1, 2]},
        {"mean": 3},
        {"mean": ["a", "b", "c"]},
        {"mean": [float("nan"), 0, 0]},
        {"std": [1, 0, 1]},
        {"std": [1, float("inf"), 1]},
        {"interpolation": "cubic"},
        {"interpolation": ["bilinear"]},
        {"flip": True},
        {"crop_width_px": 0},
        {"crop_px": 10**9},
        {"resize": "stretch"},
        {"channels": "rgba"},
        {"channels": "grey"},
        {"scale": 2},
        {"pad_rgb": [0, 0, 256]},
        {"pad_rgb": [0, 0]},
    ],
    ids=str,
)
def test_unreadable_values(change):
    with pytest.raises(ModelError, match="transform"):
        Transform.from_dict({**Transform(32, 32).to_dict(), **change})


@pytest.mark.parametrize("field", FIRST_FIELDS)
def test_missing_values(field):
    values = Transform(32, 32).to_dict()
    del values[field]
    with pytest.raises(ModelError, match="the stored transform can't be read"):
        Transform.from_dict(values)


def test_a_stored_transform_holds_new_fields_only_where_they_differ():
    assert tuple(Transform(8, 8).to_dict()) == FIRST_FIELDS
    odd = Transform(9, 8, (0.5,), (0.2,), crop_width_px=6, resize="pad", pad_rgb=(1, 2, 3), channels="grey", scale=255)
    assert Transform.from_dict(odd.to_dict()) == odd
    assert set(odd.to_dict()) - set(FIRST_FIELDS) == {"crop_width_px", "resize", "pad_rgb", "channels", "scale"}


SQUASHED, PADDED, COVERED = (Transform(32, 32, crop_width_px=48, resize=resize) for resize in ("squash", "pad", "crop"))


@pytest.mark.parametrize(
    ("transform", "size", "resized"),
    [
        (SQUASHED, (100, 100), (48, 32)),
        (SQUASHED, (10, 300), (48, 32)),
        (PADDED, (100, 100), (32, 32)),
        (PADDED, (960, 320), (48, 16)),
        (PADDED, (10, 300), (1, 32)),
        (COVERED, (100, 100), (48, 48)),
        (COVERED, (960, 320), (96, 32)),
        (COVERED, (96, 64), (48, 32)),
        # A share of the image is cut away, as with square input.
        (Transform(40, 32, resize="squash"), (100, 50), (40, 40)),
    ],
    ids=str,
)
def test_how_an_image_of_another_shape_is_fitted(transform, size, resized):
    assert transform.resized_size(*size) == resized
    assert transform.crop(random_image(*size)).shape == (*transform.size_px, 3)


def test_squashed_is_a_plain_resize():
    image = random_image(101, 57)
    expected = np.asarray(image.resize((48, 32), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(SQUASHED.crop(image), expected)


def test_padded_shows_the_whole_image_between_borders_of_the_colour():
    image = random_image(96, 24)
    pixels = Transform(32, 32, resize="pad", pad_rgb=(114, 113, 112)).crop(image)
    expected = np.asarray(image.resize((32, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(pixels[12:20], expected)
    for border in (pixels[:12], pixels[20:]):
        assert (border == (114, 113, 112)).all()


def test_borders_of_a_large_crop_have_the_colour_too():
    pixels = Transform(8, 12, pad_rgb=(9, 8, 7)).crop(Image.new("RGB", (8, 8), "white"))
    assert pixels[0, 0].tolist() == [9, 8, 7]
    assert pixels[6, 6].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    "transform",
    [
        Transform(4, 4, (104, 117, 123), (1, 2, 3), channels="bgr", scale=255),
        Transform(4, 4, (0.5,), (0.25,), channels="grey"),
        Transform(4, 4, (127,), (128,), channels="grey", scale=255),
    ],
    ids=str,
)
def test_channels_and_scale_are_the_same_with_and_without_torch(transform):
    pixels_BHWC = np.random.default_rng(2).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    from_torch = transform.normalise(torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2))
    assert_close(torch.from_numpy(transform.normalise_array(pixels_BHWC)), from_torch.contiguous(), rtol=0, atol=1e-6)
    assert from_torch.shape == (2, transform.num_channels, 5, 4)
    if transform.channels == "bgr":
        by_hand = (pixels_BHWC[..., ::-1] - np.array(transform.mean)) / np.array(transform.std)
    else:
        grey = np.stack([np.asarray(Image.fromarray(pixels).convert("L")) for pixels in pixels_BHWC])[..., None]
        by_hand = (grey / (255 if transform.scale == 1 else 1) - transform.mean[0]) / transform.std[0]
    np.testing.assert_allclose(from_torch.numpy(), by_hand.transpose(0, 3, 1, 2), atol=1e-5)


def test_not_even_a_table():
    with pytest.raises(ModelError, match="the stored transform can't be read"):
        Transform.from_dict(None)


@pytest.mark.parametrize("size", [(3, 500), (500, 3), (1, 90), (17, 900), (901, 20)], ids=str)
@pytest.mark.parametrize(
    "transform", [Transform(32, 28), Transform(28, 32), Transform(33, 28, interpolation="nearest")]
)
def test_a_long_strip_is_the_same_when_only_its_middle_is_made(transform, size, monkeypatch):
    image = random_image(*size)
    whole = transform.crop(image).astype(int)
    monkeypatch.setattr("imgcls.images.transform.MAX_RESIZED_PIXELS", 0)
    middle = transform.crop(image).astype(int)
    assert middle.shape == whole.shape
    assert np.abs(middle - whole).max() <= 1


def test_a_thread_a_pixel_wide_needs_no_gigabytes():
    # Blown up whole it would take 100 GB.
    assert (
        Transform(256, 224).crop(Image.new("RGB", (500_000, 1), "red")).reshape(-1, 3).tolist()
        == [[255, 0, 0]] * 224**2
    )
    assert Transform(256, 224).crop(Image.new("RGB", (1, 500_000))).shape == (224, 224, 3)


def test_background_and_depth_are_stored_only_where_they_say_something() -> None:
    plain = Transform(8, 8)
    assert not {"background_rgb", "depth_bits"} & set(plain.to_dict())
    told = Transform(8, 8, background_rgb=(255, 128, 0), depth_bits=12)
    assert Transform.from_dict(told.to_dict()) == told
    assert Transform.from_dict(plain.to_dict()) == plain


@pytest.mark.parametrize(
    ("field", "value"),
    [("background_rgb", [1, 2]), ("background_rgb", [0, 0, 256]), ("background_rgb", 7), ("depth_bits", 0),
     ("depth_bits", 33), ("depth_bits", True), ("depth_bits", "12")],
)  # fmt: skip
def test_a_stored_background_or_depth_that_means_nothing_is_refused(field: str, value: object) -> None:
    with pytest.raises(ModelError):
        Transform.from_dict({**Transform(8, 8).to_dict(), field: value})
