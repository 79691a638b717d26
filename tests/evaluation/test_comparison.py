"""Paired figures: by hand, and against scipy."""

import pytest
from scipy.stats import binomtest

from imgcls.evaluation.comparison import difference_interval, mcnemar_exact


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (0, 5), (3, 9), (40, 61), (1200, 1100)])
def test_mcnemars_exact_p_is_the_binomial_tests(only_a, only_b):
    count = only_a + only_b
    expected = binomtest(min(only_a, only_b), count).pvalue if count else 1.0
    assert mcnemar_exact(only_a, only_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar_exact(only_a, only_b) == mcnemar_exact(only_b, only_a)


def test_the_interval_of_a_difference_by_hand():
    # (12.5 - 4.5) / 102 -+ 1.96 sqrt(17 - 64 / 102) / 102
    low, high = difference_interval(4, 12, 100)
    assert (low, high) == pytest.approx((0.0784314 - 0.0777475, 0.0784314 + 0.0777475), abs=1e-5)
    assert difference_interval(3, 3, 50) == pytest.approx(
        tuple(-end for end in reversed(difference_interval(3, 3, 50)))
    )


def test_the_interval_holds_the_difference_as_often_as_it_says():
    import numpy as np

    random = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        only_a, only_b, _both, _neither = random.multinomial(200, [0.06, 0.1, 0.7, 0.14])
        low, high = difference_interval(int(only_a), int(only_b), 200)
        held += low <= 0.04 <= high
    assert 0.93 <= held / 1000 <= 0.975
