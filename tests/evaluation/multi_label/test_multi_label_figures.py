"""Figures of several labels per image, against scikit-learn and hand-made numbers."""

import numpy as np
import pytest
from sklearn import metrics

from imgcls.evaluation.figures.intervals import wilson_interval
from imgcls.evaluation.multi_label.figures import RankedLabels, measure_labels
from imgcls.evaluation.multi_label.measuring import MultiLabelResult, best_threshold, best_thresholds


def result_of(truth_ND: np.ndarray, probabilities_ND: np.ndarray) -> MultiLabelResult:
    truth_ND, probabilities_ND = truth_ND.astype(bool), probabilities_ND.astype(np.float32)
    clipped_ND = probabilities_ND.clip(1e-7, 1 - 1e-7)
    losses_ND = -np.where(truth_ND, np.log(clipped_ND), np.log(1 - clipped_ND)).astype(np.float32)
    names = tuple(f"class {place}" for place in range(truth_ND.shape[1]))
    rows = np.arange(len(truth_ND))
    return MultiLabelResult(names, tuple(range(len(names))), rows, truth_ND, probabilities_ND, losses_ND)


def random_result(seed: int, *, digits: int = 7, num_classes: int = 6) -> MultiLabelResult:
    """A network that knows something; few digits make many equal probabilities."""
    random = np.random.default_rng(seed)
    truth_ND = random.random((80, num_classes)) < np.linspace(0.1, 0.6, num_classes)
    return result_of(truth_ND, np.round((random.random(truth_ND.shape) + 0.4 * truth_ND) / 1.4, digits))


@pytest.mark.parametrize("digits", [7, 1])
@pytest.mark.parametrize("seed", range(3))
def test_all_figures_are_those_of_scikit_learn(seed, digits):
    result = random_result(seed, digits=digits)
    thresholds_D = np.float32([0.3, 0.4, 0.5, 0.55, 0.6, 0.7])
    found = measure_labels(result, thresholds_D)
    truth, values = result.truth_ND, result.probabilities_ND
    guesses = values >= thresholds_D
    assert [each.average_precision for each in found.classes] == pytest.approx(
        metrics.average_precision_score(truth, values, average=None).tolist()
    )
    expected = {
        "map": metrics.average_precision_score(truth, values, average="macro"),
        "f1_macro": metrics.f1_score(truth, guesses, average="macro"),
        "f1_micro": metrics.f1_score(truth, guesses, average="micro"),
        "precision_micro": metrics.precision_score(truth, guesses, average="micro"),
        "recall_micro": metrics.recall_score(truth, guesses, average="micro"),
        "exact_match": metrics.accuracy_score(truth, guesses),
        "hamming_loss": metrics.hamming_loss(truth, guesses),
        "roc_auc_macro": metrics.roc_auc_score(truth, values, average="macro"),
    }
    for name, value in expected.items():
        assert found.values[name] == pytest.approx(value), name
    for name, score in (("precision", metrics.precision_score), ("recall", metrics.recall_score)):
        assert [getattr(each, name) for each in found.classes] == pytest.approx(
            score(truth, guesses, average=None).tolist()
        )
    assert [each.f1 for each in found.classes] == pytest.approx(metrics.f1_score(truth, guesses, average=None).tolist())
    exact = round(expected["exact_match"] * 80)
    assert found.intervals["exact_match"] == wilson_interval(exact, 80)
    for name in ("map", "f1_macro", "f1_micro"):
        low, high = found.intervals[name]
        assert low < found.values[name] < high


def test_a_class_that_no_image_shows_counts_nowhere():
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    found = measure_labels(result_of(truth, np.array([[0.9, 0.2, 0.6], [0.3, 0.8, 0.1], [0.7, 0.4, 0.2]])),
                           np.float32([0.5, 0.5, 0.5]))  # fmt: skip
    last = found.classes[2]
    assert (last.average_precision, last.roc_auc, last.recall, last.precision) == (None, None, None, 0)
    assert found.values["map"] == 1
    # Right are the two answers of the first class and one of two of the second: 2 * 3 / (4 true + 4 answered).
    assert found.values["f1_micro"] == pytest.approx(6 / 8)


@pytest.mark.parametrize("digits", [7, 1])
def test_a_resample_is_weighted_as_its_images_repeated_would_be_measured(digits):
    result = random_result(7, digits=digits)
    weights_N = np.bincount(np.random.default_rng(1).integers(0, 80, 80), minlength=80)
    rows = np.repeat(np.arange(80), weights_N)
    expected = metrics.average_precision_score(result.truth_ND[rows], result.probabilities_ND[rows], average="macro")
    assert RankedLabels.of(result).mean_ap(weights_N.astype(float)) == pytest.approx(expected)


@pytest.mark.parametrize("digits", [7, 1])
@pytest.mark.parametrize("seed", range(4))
def test_no_threshold_has_a_higher_f1_than_the_one_that_is_kept(seed, digits):
    result = random_result(seed, digits=digits, num_classes=3)
    kept = best_thresholds(result).thresholds
    for threshold, values_N, own_N in zip(kept, result.probabilities_ND.T, result.truth_ND.T, strict=True):
        best = max(metrics.f1_score(own_N, values_N >= each) for each in np.unique(values_N))
        assert metrics.f1_score(own_N, values_N >= np.float32(threshold)) == pytest.approx(best)


def test_the_threshold_lies_halfway_to_the_next_lower_probability():
    assert best_threshold(np.float32([0.9, 0.8, 0.4, 0.1]), np.array([True, True, False, False])) == pytest.approx(0.6)
    # Every image shows it: halfway to nothing.
    assert best_threshold(np.float32([0.5, 0.4]), np.array([True, True])) == pytest.approx(0.2)


def test_a_class_without_images_keeps_the_usual_threshold():
    result = result_of(np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.6], [0.1, 0.2]]))
    assert best_thresholds(result).thresholds == (pytest.approx(0.5), 0.5)
