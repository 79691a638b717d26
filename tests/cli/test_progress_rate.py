"""The rate that a progress bar shows, on a clock of the test's."""

import pytest

from imgcls.cli.predict.progress import WINDOW_SEC, WindowedRate, begins_input
from imgcls.outputs.record import ImageRecord, KeptRecord


def test_a_first_batch_at_once_is_no_rate_yet():
    rate = WindowedRate(0.0)
    for number in range(32):
        rate.add(0.01 + number * 1e-4)
    assert rate.per_sec(0.02) is None
    assert rate.per_sec(1.0) == pytest.approx(32)


def test_batches_and_the_pauses_between_them_are_averaged():
    rate = WindowedRate(0.0)
    for batch in range(100):
        for _ in range(32):
            rate.add(batch * 0.2)
        if batch > 10:
            assert rate.per_sec(batch * 0.2 + 0.1) == pytest.approx(160, rel=0.1)


def test_what_was_long_ago_does_not_count():
    rate = WindowedRate(0.0)
    for number in range(1000):
        rate.add(number * 0.001)
    for number in range(200):
        rate.add(1.0 + number * 0.1)
    assert rate.per_sec(21.0) == pytest.approx(10, rel=0.1)
    assert rate.per_sec(21.0 + 10 * WINDOW_SEC) < 10


def test_a_bar_counts_inputs_and_not_their_frames():
    fresh = [ImageRecord("a.gif", "m", frame=frame, frames=3) for frame in range(3)]
    kept = [KeptRecord("b.gif", 0, 9, False, True, {"frame": frame, "frames": 2}) for frame in range(2)]
    single = [ImageRecord("c.png", "m"), KeptRecord("d.png", 0, 9, False, True, {})]
    assert sum(begins_input(record) for record in [*fresh, *kept, *single]) == 4
