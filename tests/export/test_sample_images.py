import numpy as np
import pytest
from labelled_data import damage, write_image

from imgcls.errors import DataError
from imgcls.export.sample_images import drawn_pixels, folder_pixels, hold_out
from imgcls.images.transform import Transform

TRANSFORM = Transform(20, 16)


def test_drawn_images_are_always_the_same_and_differ_from_each_other():
    first = drawn_pixels(TRANSFORM)
    assert first.shape == (8, 16, 16, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, drawn_pixels(TRANSFORM))
    assert len({image.tobytes() for image in first}) == 8
    # None of them is one flat colour.
    assert first.std(axis=(1, 2)).max(axis=1).min() > 10


def test_a_folder_gives_what_can_be_read_spread_evenly(tmp_path):
    for index in range(10):
        write_image(tmp_path / f"{index}.png", seed=index)
    damage(tmp_path / "3.png")
    assert len(folder_pixels(tmp_path, TRANSFORM)) == 9
    spread = folder_pixels(tmp_path, TRANSFORM, most=5)
    assert np.array_equal(spread, folder_pixels(tmp_path, TRANSFORM)[[0, 2, 3, 5, 7]])


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        folder_pixels(tmp_path / "none", TRANSFORM)
    (tmp_path / "a.jpg").write_bytes(b"text")
    with pytest.raises(DataError, match="can be read"):
        folder_pixels(tmp_path, TRANSFORM)


@pytest.mark.parametrize(
    ("count", "most", "sizes"), [(1, 128, (1, 0)), (2, 128, (1, 1)), (5, 128, (2, 3)), (400, 128, (128, 272))]
)
def test_what_shapes_a_model_does_not_judge_it(count, most, sizes):
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    # Each of them twice: a copy is no other image.
    shaping, judging = hold_out(np.concatenate([images, images]), most=most)
    assert (len(shaping), len(judging)) == sizes
    both = {image.tobytes() for image in (*shaping, *judging)}
    assert both == {image.tobytes() for image in images}
    assert len(both) == count


def test_images_as_large_as_networks_take_are_held_out_once_each():
    images_NHWC = np.random.default_rng(4).integers(0, 256, (6, 224, 224, 3), dtype=np.uint8)
    shaping, judging = hold_out(np.concatenate([images_NHWC, images_NHWC[::-1]]), most=128)
    assert (len(shaping), len(judging)) == (3, 3)
    assert {image.tobytes() for image in (*shaping, *judging)} == {image.tobytes() for image in images_NHWC}
