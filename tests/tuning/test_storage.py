import contextlib

import optuna
import pytest

from imgcls.tuning.results import TrialRecord
from imgcls.tuning.space import Choices, FloatRange, SearchSpace
from imgcls.tuning.storage import MAX_ATTEMPTS, StudyStorage

SPACE = SearchSpace({"optim.lr": FloatRange(0.0, 1.0), "optim.name": Choices(("sgd", "adamw"))})


@pytest.fixture
def storage(tmp_path):
    with contextlib.closing(StudyStorage(tmp_path / "study.db", SPACE, seed=0, epochs=10)) as opened:
        yield opened


def nobody(_number):
    return False


def test_a_trial_that_kills_its_process_again_and_again_is_given_up(storage):
    for _ in range(MAX_ATTEMPTS):
        trial = storage.take(2, is_alive=nobody)
        assert trial.number == 0
    assert storage.take(2, is_alive=nobody).number == 1
    failed = storage.records()[0]
    assert (failed.state, failed.reason) == ("failed", "the process died in it 3 times")


def test_a_trial_that_was_stopped_is_taken_again_however_often(storage):
    values = set()
    for seconds in range(MAX_ATTEMPTS + 2):
        trial = storage.take(1, is_alive=nobody)
        assert (trial.number, trial.seconds) == (0, seconds)
        values.add(repr(trial.values))
        trial.seconds += 1
        storage.put_back(trial)
    assert len(values) == 1


def test_a_trial_that_others_work_on_is_left_to_them(storage):
    first = storage.take(2, is_alive=nobody)
    second = storage.take(2, is_alive=lambda number: True)
    assert (first.number, second.number) == (0, 1)
    assert storage.take(2, is_alive=lambda number: True) is None


def test_the_median_gives_up_what_lies_below_it_after_the_first_epochs(storage):
    storage.use_pruner("median")
    for number in range(5):
        trial = storage.take(6, is_alive=nobody)
        for epoch in range(1, 4):
            trial.report(epoch, 0.5 + number / 100)
        storage.end(trial, TrialRecord(number, "complete", trial.values, top1=0.5 + number / 100, loss=1.0, epoch=3))
    late = storage.take(6, is_alive=nobody)
    answers = []
    for epoch in range(1, 5):
        late.report(epoch, 0.1)
        answers.append(late.should_be_pruned())
    # Of ten epochs the first two are left alone; nobody else has come to a fourth.
    assert answers == [False, False, True, False]
    storage.use_pruner("none")
    assert not late.should_be_pruned()


def test_the_setting_that_matters_is_found(storage):
    assert storage.importance() is None
    distributions = {
        "optim.lr": optuna.distributions.FloatDistribution(0.0, 1.0),
        "optim.name": optuna.distributions.CategoricalDistribution(("sgd", "adamw")),
    }
    for number in range(24):
        params = {"optim.lr": number / 24, "optim.name": ("sgd", "adamw")[number % 2]}
        storage._study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=number / 24)
        )
    importance = storage.importance()
    assert list(importance) == ["optim.lr", "optim.name"]
    assert importance["optim.lr"] > 0.8
    assert sum(importance.values()) == pytest.approx(1, abs=1e-3)


def test_optunas_own_logging_is_as_loud_as_before(tmp_path):
    before = optuna.logging.get_verbosity()
    storage = StudyStorage(tmp_path / "study.db", SPACE, seed=0, epochs=10)
    assert optuna.logging.get_verbosity() == optuna.logging.ERROR
    storage.close()
    assert optuna.logging.get_verbosity() == before
