import math

import pytest

from imgcls.cli.train.sparkline import CAPACITY, Curve, sparkline


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ([], 8, ""),
        ([3.0], 8, "▅"),
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([7, 0], 8, "█▁"),
        # Pairs are averaged: 0.5, 2.5, 4.5, 6.5.
        ([0, 1, 2, 3, 4, 5, 6, 7], 4, "▁▃▆█"),
        ([1.0, 2.0], 0, ""),
    ],
)
def test_by_hand(values, width, text):
    assert sparkline(values, width) == text


def test_any_number_of_values_keeps_its_shape_in_little_memory():
    curve = Curve()
    for epoch in range(100_000):
        curve.add(float(epoch))
    assert curve.draw(8) == "▁▂▃▄▅▆▇█"
    assert len(curve._means) < CAPACITY
    assert len(curve._pending) < 100_000 / CAPACITY * 2


def test_what_is_no_number_is_left_out():
    curve = Curve()
    for value in (1.0, math.nan, math.inf, 2.0):
        curve.add(value)
    assert curve.draw(10) == "▁█"
