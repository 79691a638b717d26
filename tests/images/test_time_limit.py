"""Images of a batch, each in its time."""

import threading

import pytest

from imgcls.errors import ImageError
from imgcls.images.decode_budget import DECODING
from imgcls.images.time_limit import map_within

LONG_SEC = 60.0


def test_results_come_in_order_and_errors_of_ours_are_raised() -> None:
    assert map_within(lambda number: number * 2, range(5), LONG_SEC) == [0, 2, 4, 6, 8]
    assert map_within(str, [], LONG_SEC) == []
    with pytest.raises(ZeroDivisionError):
        map_within(lambda number: 1 // number, [1, 0], LONG_SEC)


@pytest.mark.parametrize("runaways", [(0,), (2,), (4,), (1, 2), (0, 1, 2, 3, 4)])
def test_those_that_compute_without_end_are_left_behind_and_the_others_go_on(runaways: tuple[int, ...]) -> None:
    let_go = threading.Event()

    def make(number: int) -> int:
        # Whatever the runaway holds is free for the others.
        with DECODING.reserve(1 << 62):
            while number in runaways and not let_go.is_set():
                sum(range(1000))
            return number

    found = map_within(make, range(5), 0.1)
    let_go.set()
    for number, each in enumerate(found):
        if number in runaways:
            assert isinstance(each, ImageError)
            assert (each.kind, each.message) == ("corrupt_image", "decoding took more than 0.1 s")
        else:
            assert each == number
