"""Calibration errors by hand, against a plain loop, and with equal confidences."""

import numpy as np
import pytest

from imgcls.evaluation.figures.calibration_error import (
    classwise_calibration_error,
    expected_calibration_error,
    reliability_bins,
)


def test_by_hand():
    # Two bins of two images: |0.55 - 0.5| and |0.85 - 1|, each half of the images.
    confidences = np.array([0.9, 0.5, 0.6, 0.8])
    correct = np.array([True, True, False, True])
    bins = reliability_bins(confidences, correct, num_bins=2)
    assert bins.counts_M.tolist() == [2, 2]
    assert bins.confidences_M == pytest.approx([0.55, 0.85])
    assert bins.accuracies_M.tolist() == [0.5, 1.0]
    assert bins.error == pytest.approx(0.1)


def test_a_plain_loop_over_bins_of_equal_mass():
    random = np.random.default_rng(0)
    confidences = random.random(1500)
    correct = random.random(1500) < confidences**2
    order = np.argsort(confidences)
    error = 0.0
    for part in np.array_split(order, 15):
        error += len(part) / 1500 * abs(confidences[part].mean() - correct[part].mean())
    assert expected_calibration_error(confidences, correct) == pytest.approx(error, rel=1e-12)


def test_equal_confidences_share_a_bin_whatever_their_order():
    confidences = np.array([1.0] * 60 + [0.5] * 40)
    correct = np.array([True] * 40 + [False] * 60)
    order = np.random.default_rng(0).permutation(100)
    bins = reliability_bins(confidences[order], correct[order])
    assert bins.counts_M.tolist() == [40, 60]
    assert bins.error == pytest.approx(0.6 * (1 - 40 / 60) + 0.4 * 0.5)


def test_one_image_and_none():
    assert expected_calibration_error(np.array([0.75]), np.array([True])) == 0.25
    with pytest.raises(ValueError, match="no image"):
        reliability_bins(np.array([]), np.array([], dtype=bool))


def test_classwise_is_the_mean_over_the_classes():
    random = np.random.default_rng(1)
    # More classes than are worked on at a time.
    probabilities = random.dirichlet(np.ones(70), 300)
    labels = random.integers(0, 70, 300)
    log_probabilities = np.log(probabilities).astype(np.float32)
    each = [
        expected_calibration_error(np.exp(log_probabilities[:, label].astype(np.float64)), labels == label)
        for label in range(70)
    ]
    assert classwise_calibration_error(log_probabilities, labels) == pytest.approx(np.mean(each), rel=1e-9)
