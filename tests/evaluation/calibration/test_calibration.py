"""Calibration against logits whose right temperature is known, an independent ECE, and conformal coverage."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from imgcls.errors import DataError, ModelError
from imgcls.evaluation.calibration.conformal import fit_sets, measure_sets
from imgcls.evaluation.calibration.figures import figures_of
from imgcls.evaluation.calibration.fitting import calibrate_logits, fit
from imgcls.evaluation.figures.calibration_error import expected_calibration_error
from imgcls.models.answers.calibration import Calibration, ConformalSets

CLASSES = 6


def drawn(count, *, temperature=1.0, seed=0):
    """Logits whose softmax is the distribution that labels are drawn from, then made too sure by a factor."""
    random = torch.Generator().manual_seed(seed)
    logits_NK = 2 * torch.randn(count, CLASSES, generator=random, dtype=torch.float64)
    labels_N = torch.multinomial(logits_NK.softmax(1), 1, generator=random)[:, 0]
    return logits_NK * temperature, labels_N


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    found = fit(*drawn(20_000, temperature=temperature), method="temperature")
    assert found.temperature == pytest.approx(temperature, rel=0.05)


def test_the_fit_is_the_least_log_loss_on_a_fine_grid():
    logits_NK, labels_N = drawn(500, temperature=2.5)
    grid = torch.linspace(0.5, 6, 2000, dtype=torch.float64)
    losses = torch.stack([cross_entropy(logits_NK / each, labels_N) for each in grid])
    found = fit(logits_NK, labels_N, method="temperature")
    assert found.temperature == pytest.approx(float(grid[losses.argmin()]), abs=0.005)


def test_a_vector_undoes_an_offset_of_one_class():
    logits_NK, labels_N = drawn(20_000)
    shift_K = torch.tensor([1.5, 0, 0, 0, 0, 0], dtype=torch.float64)
    found = fit(logits_NK + shift_K, labels_N, method="vector")
    undone = np.array(found.offset) + np.array(found.scale) * shift_K.numpy()
    assert undone - undone.mean() == pytest.approx(np.zeros(CLASSES), abs=0.15)


def test_ece_by_hand():
    # Fewer images than bins, so each is a bin: three right ones and a wrong one, sure to .6, .9, .8 and .7.
    logits_NK = torch.tensor([[0.6, 0.4], [0.1, 0.9], [0.3, 0.7], [0.8, 0.2]], dtype=torch.float64).log()
    found = figures_of(logits_NK, torch.tensor([0, 1, 0, 0]), seed=0)
    assert found.ece.value == pytest.approx((0.4 + 0.1 + 0.7 + 0.2) / 4)
    assert found.ece.low <= found.ece.value <= found.ece.high


def test_ece_is_that_of_eval():
    logits_NK, labels_N = drawn(400, temperature=2.0)
    confidences_N, guesses_N = logits_NK.softmax(1).max(1)
    error = expected_calibration_error(confidences_N.numpy(), (guesses_N == labels_N).numpy())
    assert figures_of(logits_NK, labels_N, seed=0).ece.value == pytest.approx(error, rel=1e-12)
    assert error > 0.05


def test_brier_and_log_loss_are_scikit_learns():
    from sklearn.metrics import log_loss

    logits_NK, labels_N = drawn(300)
    probabilities_NK = logits_NK.softmax(1).numpy()
    found = figures_of(logits_NK, labels_N, seed=0)
    one_hot = np.eye(CLASSES)[labels_N.numpy()]
    assert found.brier.value == pytest.approx(((probabilities_NK - one_hot) ** 2).sum(1).mean())
    assert found.log_loss.value == pytest.approx(log_loss(labels_N.numpy(), probabilities_NK, labels=range(CLASSES)))
    assert found.log_loss.low < found.log_loss.value < found.log_loss.high
    assert figures_of(logits_NK, labels_N, seed=0) == found


def test_figures_after_are_of_images_that_were_not_fitted_to():
    # Labels that have nothing to do with the logits: fitted to its own images, a vector of scales would seem to help.
    random = torch.Generator().manual_seed(1)
    logits_NK = torch.randn(60, CLASSES, generator=random, dtype=torch.float64)
    labels_N = torch.randint(CLASSES, (60,), generator=random)
    report = calibrate_logits(logits_NK, labels_N, method="vector")
    own = fit(logits_NK, labels_N, method="vector")
    fitted = cross_entropy(logits_NK * torch.tensor(own.scale) + torch.tensor(own.offset), labels_N)
    assert report.after.log_loss.value > float(fitted)


def test_overconfidence_is_mended_and_the_accuracy_stays():
    report = calibrate_logits(*drawn(4000, temperature=3))
    assert report.after.ece.high < report.before.ece.low
    assert report.after.log_loss.value < report.before.log_loss.value
    assert report.after.accuracy.value == report.before.accuracy.value


@pytest.mark.parametrize(("coverage", "penalty"), [(0.9, 0.0), (0.9, 0.05), (0.95, 0.0)])
def test_sets_cover_as_often_as_asked_over_many_splits(coverage, penalty):
    found = []
    for seed in range(30):
        logits_NK, labels_N = drawn(700, seed=seed)
        probabilities_NK = logits_NK.softmax(1)
        sets = fit_sets(probabilities_NK[:300], labels_N[:300], coverage=coverage, penalty=penalty)
        found.append(measure_sets(sets, probabilities_NK[300:], labels_N[300:]).coverage)
    # Between 1 - a and 1 - a + 1 / (n + 1) on average; three standard errors.
    error = 3 * math.sqrt(coverage * (1 - coverage) * (1 / 300 + 1 / 400) / 30)
    assert coverage - error < np.mean(found) < coverage + 1 / 301 + error


def test_a_set_by_hand():
    sets = ConformalSets(coverage=0.9, threshold=0.75, penalty=0, free_ranks=5, num_images=10)
    # Before the ranks lie 0, .5, .8 and .95.
    assert sets.members(np.array([0.15, 0.5, 0.05, 0.3], np.float32)) == [1, 3]
    assert sets.members(np.array([0.1, 0.9, 0, 0], np.float32)) == [1]
    penalised = ConformalSets(coverage=0.9, threshold=0.75, penalty=0.2, free_ranks=0, num_images=10)
    assert penalised.members(np.array([0.15, 0.5, 0.05, 0.3], np.float32)) == [1]


def test_a_set_is_never_empty():
    sets = ConformalSets(coverage=0.5, threshold=-1, penalty=0, free_ranks=5, num_images=10)
    assert sets.members(np.array([0.2, 0.8], np.float32)) == [1]


def test_figures_of_sets_are_those_of_each_set():
    logits_NK, labels_N = drawn(200)
    probabilities_NK = logits_NK.softmax(1)
    sets = fit_sets(probabilities_NK[:100], labels_N[:100], coverage=0.8, penalty=0.02)
    members = [sets.members(row.float().numpy()) for row in probabilities_NK[100:]]
    found = measure_sets(sets, probabilities_NK[100:], labels_N[100:])
    assert found.mean_size == np.mean([len(each) for each in members])
    assert found.coverage == np.mean([int(label) in each for label, each in zip(labels_N[100:], members, strict=True)])
    assert found.singles == np.mean([len(each) == 1 for each in members])


def test_too_few_images():
    logits_NK, labels_N = drawn(49)
    with pytest.raises(DataError, match="49 images are too few"):
        calibrate_logits(logits_NK, labels_N)
    logits_NK, labels_N = drawn(60)
    with pytest.raises(DataError, match="too few for sets"):
        calibrate_logits(logits_NK, labels_N, coverage=0.99)


@pytest.mark.parametrize(
    "broken",
    [
        {"scale": []},
        {"scale": [0.0]},
        {"scale": [math.nan]},
        {"method": "magic"},
        {"offset": [1.0]},
        {"scale": "x"},
        {"sets": {"coverage": 0.9}},
        {"sets": {"coverage": 2, "threshold": 1, "penalty": 0, "free_ranks": 5, "num_images": 3}},
    ],
)
def test_a_damaged_calibration_is_refused(broken):
    good = Calibration("temperature", (0.5,), num_images=9, sets=ConformalSets(0.9, 0.5, 0.0, 5, 9))
    assert Calibration.from_dict(good.to_dict(), num_classes=3) == good
    with pytest.raises(ValueError, match=r".+"):
        Calibration.from_dict(good.to_dict() | broken, num_classes=3)


def test_a_checkpoint_with_a_damaged_calibration_is_a_damaged_checkpoint(tmp_path, tiny_model):
    from imgcls.models.checkpoint import load_checkpoint

    content = torch.load(tiny_model, weights_only=True)
    torch.save(content | {"calibration": {"method": "temperature", "scale": [-1.0], "offset": []}}, tmp_path / "c.pt")
    with pytest.raises(ModelError, match="damaged"):
        load_checkpoint(tmp_path / "c.pt")
