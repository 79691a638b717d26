import contextlib
import random
import sqlite3

import optuna
import pytest

from imgcls.errors import ImgclsError, OutputError
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


def nothing(_number):
    return ""


def take(storage, wanted, *, is_alive=nobody, saved=nothing):
    return storage.take(wanted, is_alive=is_alive, saved=saved)


def test_a_trial_that_kills_its_process_again_and_again_is_given_up(storage):
    for _ in range(MAX_ATTEMPTS):
        assert take(storage, 2).number == 0
    assert take(storage, 2).number == 1
    failed = storage.records()[0]
    assert (failed.state, failed.reason) == ("failed", "the process died in it 3 times without progress")


def test_deaths_after_progress_do_not_count(storage):
    for progress in range(20):
        # What was saved differs at each death from what was saved when the trial was taken on.
        assert take(storage, 2, saved=lambda _number, progress=progress: str(progress)).number == 0
    # Without progress only so many more.
    for _ in range(MAX_ATTEMPTS - 1):
        assert take(storage, 2, saved=lambda _number: "19").number == 0
    assert take(storage, 2, saved=lambda _number: "19").number == 1
    assert storage.records()[0].state == "failed"


def test_a_trial_that_was_stopped_is_taken_again_however_often(storage):
    values = set()
    for seconds in range(MAX_ATTEMPTS + 2):
        trial = take(storage, 1)
        assert (trial.number, trial.seconds) == (0, seconds)
        values.add(repr(trial.values))
        trial.seconds += 1
        storage.put_back(trial)
    assert len(values) == 1


def test_a_trial_that_others_work_on_is_left_to_them(storage):
    first = take(storage, 2)
    second = take(storage, 2, is_alive=lambda number: True)
    assert (first.number, second.number) == (0, 1)
    assert take(storage, 2, is_alive=lambda number: True) is None


def test_the_median_gives_up_what_lies_below_it_after_the_first_epochs(storage):
    storage.use_pruner("median")
    for number in range(5):
        trial = take(storage, 6)
        for epoch in range(1, 4):
            trial.report(epoch, 0.5 + number / 100)
        storage.end(trial, TrialRecord(number, "complete", trial.values, top1=0.5 + number / 100, loss=1.0, epoch=3))
    late = take(storage, 6)
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
    for number in range(24):
        trial = take(storage, 24)
        lr = trial.values["optim.lr"]
        storage.end(trial, TrialRecord(number, "complete", trial.values, top1=lr, loss=1 - lr, epoch=1))
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


def cells(path):
    """Every cell of a study's file that holds something: table, column and row."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            for (row,) in database.execute(f"SELECT rowid FROM {table}").fetchall():
                for column in columns:
                    yield table, column, row


TAMPERED = ["", "not JSON", "[" * 5000, '"\\ud800"', "-1", 10**15, 1.5, None, b"\x80\xff", '{"attempts": "x"}', "NaN"]


def test_a_study_that_was_tampered_with_is_an_error_of_ours_or_does_no_harm(tmp_path):
    path = tmp_path / "study.db"
    with contextlib.closing(StudyStorage(path, SPACE, seed=0, epochs=10)) as storage:
        storage.set("pruner", "median")
        ended, running = take(storage, 3), take(storage, 3, is_alive=lambda _number: True)
        for trial in (ended, running):
            trial.report(1, 0.5)
        storage.end(ended, TrialRecord(0, "complete", ended.values, top1=0.5, loss=1.0, epoch=1))
    whole, told, chosen = path.read_bytes(), [], random.Random(0)
    for table, column, row in cells(path):
        for value in chosen.sample(TAMPERED, 1):
            path.write_bytes(whole)
            with contextlib.closing(sqlite3.connect(path)) as database:
                try:
                    database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (value, row))
                    database.commit()
                except sqlite3.Error:
                    # The table itself refuses such a value.
                    continue
            try:
                with contextlib.closing(StudyStorage(path, SPACE, seed=0, epochs=10)) as storage:
                    assert isinstance(storage.settings, dict)
                    assert all(record.number >= 0 for record in storage.records())
                    take(storage, 3)
            except ImgclsError as exc:
                told.append(exc)
    assert any(isinstance(exc, OutputError) and "damaged" in exc.message for exc in told)
    assert all(exc.hint and "\n" not in exc.message for exc in told)
