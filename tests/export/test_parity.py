import numpy as np
import pytest

from imgcls.errors import ModelError
from imgcls.export.parity import Parity, compare, in_batches, median_ms


def test_compare_against_values_computed_by_hand():
    expected = np.log(np.array([[0.2, 0.8], [0.6, 0.4]], np.float32))
    found = np.log(np.array([[0.3, 0.7], [0.4, 0.6]], np.float32))
    parity = compare(expected, found)
    assert parity.num_images == 2
    assert parity.top1 == 0.5
    assert parity.largest_difference == pytest.approx(0.2, abs=1e-6)
    # Of all logarithms ln 0.2 is the largest in size; ln 0.6 - ln 0.4 is the largest difference.
    assert parity.largest_relative_difference == pytest.approx(np.log(1.5) / -np.log(0.2), rel=1e-5)


def test_equal_answers_pass():
    answers = np.array([[1.0, 2.0]], np.float32)
    compare(answers, answers).check("the file")


@pytest.mark.parametrize(
    "parity",
    [
        Parity(8, 1.0, 1.1e-4, 0.0),
        Parity(8, 1.0, float("nan"), 0.0),
        # All probabilities near 1/1000 hide what the outputs show.
        Parity(8, 1.0, 1e-9, 2e-3),
    ],
    ids=str,
)
def test_different_answers_are_an_error(parity):
    with pytest.raises(ModelError, match="the file answers differently"):
        parity.check("the file")


def test_answers_that_are_no_numbers_are_an_error():
    good, bad = np.zeros((1, 2), np.float32), np.array([[0.0, np.nan]], np.float32)
    with pytest.raises(ModelError, match="the model answers"):
        compare(bad, good)
    with pytest.raises(ModelError, match="exported file answers"):
        compare(good, bad)


def test_batches_leave_none_out():
    pixels = np.arange(70, dtype=np.uint8).reshape(70, 1, 1, 1)
    sizes = []

    def run(images):
        sizes.append(len(images))
        return images.reshape(len(images), 1).astype(np.float32)

    assert in_batches(run, pixels)[:, 0].tolist() == list(range(70))
    assert sizes == [32, 32, 6]


def test_each_is_timed_on_one_image_at_a_time():
    sizes = []
    times = median_ms({"a": lambda images: sizes.append(len(images))}, np.zeros((2, 1, 1, 3), np.uint8))
    assert list(times) == ["a"]
    assert set(sizes) == {1}
