"""Every figure against scikit-learn, on answers with ties, absent classes and classes that are never guessed."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from imgcls.evaluation.figures.measured import measure_figures
from imgcls.evaluation.figures.scores import ImageScores

NUM_CLASSES = 7


def answers(seed: int, *, count: int = 400, absent: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities in which some are equal, and true classes that go with them to a degree."""
    random = np.random.default_rng(seed)
    labels_N = random.integers(0, NUM_CLASSES, count)
    if absent is not None:
        labels_N[labels_N == absent] = (absent + 1) % NUM_CLASSES
    logits_NK = random.normal(size=(count, NUM_CLASSES)) + 1.5 * np.eye(NUM_CLASSES)[labels_N]
    # Whole numbers make ties between images; class 2 is hardly ever the best.
    logits_NK = np.round(logits_NK)
    logits_NK[:, 2] -= 8
    logits_NK = torch.tensor(logits_NK, dtype=torch.float32)
    return logits_NK.log_softmax(1).numpy(), labels_N


def scores_of(log_probabilities_NK: np.ndarray, labels_N: np.ndarray) -> ImageScores:
    """As an evaluation keeps them."""
    probabilities_NK = np.exp(log_probabilities_NK.astype(np.float64))
    true_N = probabilities_NK[np.arange(len(labels_N)), labels_N]
    order_NK = np.argsort(-probabilities_NK, axis=1, kind="stable")[:, :5]
    return ImageScores(
        np.arange(len(labels_N)),
        labels_N,
        order_NK[:, 0],
        -np.log(true_N),
        (probabilities_NK**2).sum(1) - 2 * true_N + 1,
        order_NK,
        np.take_along_axis(probabilities_NK, order_NK, 1),
        log_probabilities_NK,
    )


def measured(scores: ImageScores):
    """All figures of these scores."""
    places = scores.labels_N * NUM_CLASSES + scores.guesses_N
    confusion_KK = torch.tensor(np.bincount(places, minlength=NUM_CLASSES**2).reshape(NUM_CLASSES, NUM_CLASSES))
    in_top5 = int((scores.top_ids_NT == scores.labels_N[:, None]).any(1).sum())
    return measure_figures(confusion_KK, scores, num_in_top5=in_top5)


@pytest.mark.parametrize(("seed", "absent"), [(0, None), (1, None), (2, 4)])
def test_figures(seed, absent):
    log_probabilities_NK, labels_N = answers(seed, absent=absent)
    scores = scores_of(log_probabilities_NK, labels_N)
    figures = measured(scores)
    found, guesses_N = figures.values, scores.guesses_N
    probabilities_NK = np.exp(log_probabilities_NK.astype(np.float64))
    probabilities_NK /= probabilities_NK.sum(1, keepdims=True)
    present = [label for label in range(NUM_CLASSES) if label != absent]
    assert 2 not in guesses_N, "a class that is never guessed"

    def expect(name, value):
        assert found[name] == pytest.approx(value, rel=1e-6), name

    expect("top1", sklearn_metrics.accuracy_score(labels_N, guesses_N))
    expect("balanced_accuracy", sklearn_metrics.recall_score(labels_N, guesses_N, labels=present, average="macro"))
    expect("mcc", sklearn_metrics.matthews_corrcoef(labels_N, guesses_N))
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
            labels_N, guesses_N, labels=present, average=average, zero_division=0
        )
        for name, value in (("precision", precision), ("recall", recall), ("f1", f1)):
            expect(f"{name}_{average}", value)
    micro = sklearn_metrics.precision_recall_fscore_support(labels_N, guesses_N, average="micro")
    for name, value in zip(("precision", "recall", "f1"), micro, strict=False):
        expect(f"{name}_micro", value)
    expect("log_loss", sklearn_metrics.log_loss(labels_N, probabilities_NK, labels=range(NUM_CLASSES)))
    expect("brier", sklearn_metrics.brier_score_loss(labels_N, probabilities_NK, labels=range(NUM_CLASSES)))
    top5 = sklearn_metrics.top_k_accuracy_score(labels_N, probabilities_NK, k=5, labels=range(NUM_CLASSES))
    # scikit-learn breaks ties otherwise, so that a few images may differ.
    assert found["top5"] == pytest.approx(top5, abs=0.05)
    areas, precisions = [], []
    for label in present:
        own_N, column_N = labels_N == label, probabilities_NK[:, label]
        values_N = log_probabilities_NK[:, label].astype(np.float64)
        areas.append(sklearn_metrics.roc_auc_score(own_N, values_N))
        precisions.append(sklearn_metrics.average_precision_score(own_N, values_N))
        own = figures.classes[label]
        assert own.roc_auc == pytest.approx(areas[-1], rel=1e-6)
        assert own.average_precision == pytest.approx(precisions[-1], rel=1e-6)
        precision, recall, f1, _ = sklearn_metrics.precision_recall_fscore_support(
            labels_N, guesses_N, labels=[label], average=None, zero_division=np.nan
        )
        expected = [None if np.isnan(value[0]) else pytest.approx(value[0]) for value in (precision, recall, f1)]
        assert [own.precision, own.recall, own.f1] == expected
        assert own.loss == pytest.approx(-np.log(column_N[own_N]).mean(), rel=1e-5)
    expect("roc_auc_macro", np.mean(areas))
    expect("average_precision_macro", np.mean(precisions))
    if absent is not None:
        assert (figures.classes[absent].recall, figures.classes[absent].roc_auc) == (None, None)


def test_each_interval_holds_its_figure_and_is_the_same_each_time():
    log_probabilities_NK, labels_N = answers(3)
    scores = scores_of(log_probabilities_NK, labels_N)
    figures = measured(scores)
    assert set(figures.intervals) == set(figures.values)
    for name, (low, high) in figures.intervals.items():
        assert low <= figures.values[name] <= high, name
        assert high - low < (1 if name == "log_loss" else 0.25), name
    for own in figures.classes:
        for name, (low, high) in own.intervals.items():
            assert low <= getattr(own, name) <= high, name
    assert measured(scores).intervals == figures.intervals


def test_the_order_of_the_images_changes_no_figure():
    log_probabilities_NK, labels_N = answers(4)
    order_N = np.random.default_rng(0).permutation(len(labels_N))
    there = measured(scores_of(log_probabilities_NK, labels_N)).values
    again = measured(scores_of(log_probabilities_NK[order_N], labels_N[order_N])).values
    assert again == pytest.approx(there, rel=1e-12)


def test_what_is_no_number_leaves_the_counts():
    log_probabilities_NK, labels_N = answers(5)
    log_probabilities_NK[7] = np.nan
    scores = scores_of(log_probabilities_NK, labels_N)
    figures = measured(scores)
    assert figures.values["top1"] == scores.correct_N.mean()
    assert "log_loss" not in figures.values
    assert figures.reliability is None
