"""Intervals by hand, by another implementation, and by how often they hold what they promise."""

import numpy as np
import pytest
from scipy.stats import binomtest

from imgcls.evaluation.figures.bootstrap import bootstrap
from imgcls.evaluation.figures.intervals import wilson_interval
from imgcls.evaluation.figures.scores import ImageScores


@pytest.mark.parametrize(("right", "count"), [(0, 1), (1, 1), (3, 10), (0, 40), (40, 40), (8808, 10_000)])
def test_wilson_equals_scipy(right, count):
    expected = binomtest(right, count).proportion_ci(method="wilson")
    assert wilson_interval(right, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("right", "count"), [(1, 0), (-1, 3), (4, 3)])
def test_what_is_no_share_is_refused(right, count):
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(right, count)


def test_the_bootstrap_holds_the_truth_as_often_as_it_says():
    # Brier's score of coins that are known: each image is right with the probability that it says.
    random = np.random.default_rng(0)
    held, trials = 0, 200
    for trial in range(trials):
        confidence_N = random.uniform(0.5, 1, 120)
        right_N = random.random(120) < confidence_N
        probabilities_N2 = np.stack([confidence_N, 1 - confidence_N], 1)
        labels_N = np.where(right_N, 0, 1)
        true_N = probabilities_N2[np.arange(120), labels_N]
        scores = ImageScores(
            np.arange(120), labels_N, np.zeros(120, np.int64), -np.log(true_N), 2 * (1 - true_N) ** 2,
            np.tile([0, 1], (120, 1)), probabilities_N2,
        )  # fmt: skip
        low, high = bootstrap(scores, 2, seed=trial, num_resamples=200)[0]["brier"]
        # The mean of 2 p (1 - p) over p uniform in [0.5, 1] is 1/3.
        held += low <= 1 / 3 <= high
    # Between 0.88 and 1 with all but certainty, where 0.95 is true.
    assert held / trials > 0.88
