import io

import numpy as np
import pytest
from faulty_data import drawn
from PIL import Image

from imgcls.datasets.checks.alignment import aligned_scores
from imgcls.datasets.checks.copies import NEAR_SCORE


def thumbnail(image):
    return np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))


def moved(image, dx, dy):
    pixels = np.pad(np.asarray(image), ((6, 6), (6, 6), (0, 0)), mode="edge")
    side = image.width
    return Image.fromarray(pixels[6 + dy : 6 + dy + side, 6 + dx : 6 + dx + side])


def encoded(image, quality):
    out = io.BytesIO()
    image.save(out, "jpeg", quality=quality)
    return Image.open(out).convert("RGB")


@pytest.mark.parametrize("seed", range(5))
def test_changed_copies_fit_and_other_images_do_not(seed):
    original = drawn(seed)
    changed = [
        original,
        original.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        moved(original, 4, -3),
        encoded(original, 60),
        original.resize((96, 96), Image.Resampling.BICUBIC),
        drawn(seed + 100),
    ]
    images = np.stack([thumbnail(each) for each in (original, *changed)])
    *same, other = aligned_scores(images, [(0, index) for index in range(1, len(images))]).tolist()
    assert same[0] == pytest.approx(1, abs=1e-3)
    assert min(same) > NEAR_SCORE
    assert other < 0.6


def test_a_score_is_the_correlation_of_the_middle():
    # Two images that differ by a brightness and a contrast alone have a correlation of 1.
    first = np.asarray(drawn(1).resize((32, 32))).astype(int)
    second = (first // 2 + 40).astype(np.uint8)
    (score,) = aligned_scores(np.stack([first.astype(np.uint8), second]), [(0, 1)])
    assert score == pytest.approx(1, abs=0.01)


def test_images_of_one_colour_are_no_copies_of_each_other():
    plain = np.stack([np.full((32, 32, 3), level, np.uint8) for level in (10, 200)])
    assert aligned_scores(plain, [(0, 1)]).tolist() == [0]


def test_no_pairs_give_no_scores():
    assert len(aligned_scores(np.zeros((2, 32, 32, 3), np.uint8), [])) == 0
