import contextlib
import csv
import json
import os
import signal
import sqlite3
import time

import pytest
from filelock import FileLock, Timeout
from labelled_data import write_cifar10, write_classes
from tiny_runs import stop_after

from imgcls.errors import ConfigError, DataError, DeviceError, OutputError, UsageError
from imgcls.host.data_files import json_text
from imgcls.models import building
from imgcls.recipes.loading import load_recipe
from imgcls.runs.events import EpochEnd
from imgcls.training.run import train
from imgcls.tuning.results import StudyStarted, TrialEnded, TrialStarted
from imgcls.tuning.storage import MAX_ATTEMPTS
from imgcls.tuning.study import tune

SPACE = """
[optim]
lr = { low = 1e-4, high = 0.1, log = true }
name = ["adamw", "sgd"]
[model.arguments]
hidden = [[4], [6, 4]]
"""
KEYS = ["optim.lr", "optim.name", "model.arguments.hidden"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("data") / "photos", {"red": 12, "green": 12, "blue": 12})


def recipe_for(folder, *settings, epochs=2):
    """An mlp of a few weights, which trains in a few milliseconds."""
    assignments = ("model.name=mlp", "model.arguments.hidden=[4]", "data.image_px=8", "train.batch_size=8", *settings)
    return load_recipe(
        assignments=assignments, flags={"data.source": str(folder), "train.epochs": epochs}, resolve=False
    )


@pytest.fixture
def space(tmp_path):
    def write(text=SPACE):
        path = tmp_path / "space.toml"
        path.write_text(text)
        return path

    return write


def facts(result):
    """All of a study's trials but for what the clock and the place say."""
    return [(t.number, t.state, t.values, t.top1, t.loss, t.epoch, t.reason) for t in result.trials]


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """A study that was never cut, in a folder whose name would mean something else in a URL."""
    root = tmp_path_factory.mktemp("whole")
    (root / "space.toml").write_text(SPACE)
    events = []
    name = "my study" if os.name == "nt" else "my study?a=1#%20{x}"
    result = tune(recipe_for(photos), root / "space.toml", output=root / name, num_trials=4, on_event=events.append)
    return result, events


def test_a_study_leaves_its_folder_and_says_the_same_in_it(whole, photos):
    result, events = whole
    study = result.study
    assert {path.name for path in study.iterdir() if not path.name.startswith(".")} == {
        "recipe.toml", "space.toml", "study.db", "best.toml", "trials.csv", "result.json", "trials"
    }  # fmt: skip
    assert (study / "space.toml").read_text() == SPACE
    written = json.loads((study / "result.json").read_text())
    assert written == json.loads(json_text(result.to_dict()))
    assert (written["schema"], written["num_trials"], written["counts"]) == (1, 4, {"complete": 4})
    assert [trial["trial"] for trial in written["trials"]] == [0, 1, 2, 3]
    with (study / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-3:] == KEYS
    assert [float(row["top1"]) for row in rows] == [trial.top1 for trial in result.trials]
    assert {row["model.arguments.hidden"] for row in rows} <= {"[4]", "[6, 4]"}
    started = events[0]
    assert isinstance(started, StudyStarted)
    assert (started.num_train, started.num_val, started.val_fraction) == (30, 6, None)
    assert (started.begins_with_recipe, started.num_trials, started.num_over) == (True, 4, 0)
    assert [event.number for event in events if isinstance(event, TrialStarted)] == [0, 1, 2, 3]
    assert [event.num_over for event in events if isinstance(event, TrialEnded)] == [1, 2, 3, 4]
    assert result.trials[0].values == {"optim.lr": 0.001, "optim.name": "adamw", "model.arguments.hidden": [4]}


def test_the_best_trial_is_the_one_whose_best_epoch_is_best(whole):
    result, events = whole
    best_epochs = []
    for trial in result.trials:
        rows = [json.loads(line) for line in (trial.run / "metrics.jsonl").read_text().splitlines()]
        best = max(rows, key=lambda row: (row["top1"], -row["loss"]))
        assert json.loads(json_text([trial.top1, trial.loss])) == [best["top1"], best["loss"]]
        assert trial.epoch == best["epoch"]
        best_epochs.append((best["top1"], -best["loss"]))
    assert result.best.number == best_epochs.index(max(best_epochs))
    assert events[-1].best == result.best
    checkpoints = [path.relative_to(result.study).as_posix() for path in result.study.rglob("*.pt")]
    assert checkpoints == [f"trials/{result.best.number:04d}/best.pt"]


def test_the_best_recipe_trains_to_what_the_trial_came_to(whole, tmp_path):
    result, _events = whole
    text = result.best_recipe.read_text()
    assert f"trial {result.best.number}, top-1 {result.best.top1:.2%} of 6 validation images" in text
    assert "imgcls train -c '" in text
    recipe = load_recipe(result.best_recipe)
    assert recipe == load_recipe(result.best.run / "config.toml")
    again = train(recipe, output=tmp_path / "again")
    assert (again.best.top1, again.best.loss, again.best.epoch) == (
        result.best.top1, result.best.loss, result.best.epoch
    )  # fmt: skip


def test_optuna_itself_reads_the_study(whole, tmp_path):
    import optuna

    result, _events = whole
    copied = tmp_path / "study.db"
    copied.write_bytes((result.study / "study.db").read_bytes())
    storage = optuna.storages.RDBStorage(f"sqlite:///{copied}")
    study = optuna.load_study(study_name=None, storage=storage)
    assert study.best_value == max(trial.top1 for trial in result.trials)
    assert [set(trial.intermediate_values) for trial in study.trials] == [{1, 2}] * 4
    storage.remove_session()
    storage.engine.dispose()


@pytest.mark.parametrize("asked", [5, 13])
def test_stopped_anywhere_and_resumed_equals_uninterrupted(whole, photos, space, tmp_path, asked):
    expected, _events = whole
    stopped = tune(recipe_for(photos), space(), output=tmp_path / "cut", num_trials=4, should_stop=stop_after(asked))
    assert stopped.stopped == "SIGINT"
    assert not [trial for trial in stopped.trials if trial.state == "running"]
    resumed = tune(resume=tmp_path / "cut")
    assert resumed.stopped is None
    assert facts(resumed) == facts(expected)
    assert (tmp_path / "cut/best.toml").read_text().splitlines()[5:] == (
        expected.best_recipe.read_text().splitlines()[5:]
    )


def test_hardly_any_time_and_more_trials_later(photos, space, tmp_path):
    begun = tune(recipe_for(photos), space(), output=tmp_path / "study", num_trials=1, max_sec=1e-9)
    assert (begun.stopped, begun.best, begun.best_recipe) == ("max-time", None, None)
    assert begun.counts == {"waiting": 1}
    assert (tmp_path / "study/trials/0000/last.pt").exists(), "one step is made however short the time is"
    assert tune(resume=tmp_path / "study").counts == {"complete": 1}
    more = tune(resume=tmp_path / "study", num_trials=2, pruner="none")
    assert (more.counts, more.pruner) == ({"complete": 2}, "none")
    events = []
    nothing_left = tune(resume=tmp_path / "study", on_event=events.append)
    assert facts(nothing_left) == facts(more)
    assert [type(event) for event in events] == [StudyStarted]


def test_a_study_goes_on_only_as_it_began(photos, space, tmp_path):
    tune(recipe_for(photos), space(), output=tmp_path / "study", num_trials=1)
    with pytest.raises(ConfigError, match=r"has another recipe: optim\.lr was 0\.001, now 0\.5"):
        tune(recipe_for(photos, "optim.lr=0.5"), resume=tmp_path / "study")
    with pytest.raises(ConfigError, match=r"searches another space than .*: optim\.lr, optim\.name"):
        tune(None, space(SPACE.replace("1e-4", "1e-3").replace("name", "# name")), resume=tmp_path / "study")
    tune(recipe_for(photos), space(), resume=tmp_path / "study")
    (photos / "red" / "new.png").write_bytes((photos / "red" / "000.png").read_bytes())
    try:
        with pytest.raises(DataError, match="the images are not those that the study"):
            tune(resume=tmp_path / "study")
    finally:
        (photos / "red" / "new.png").unlink()
    with pytest.raises(OutputError, match="study is not empty"):
        tune(recipe_for(photos), space(), output=tmp_path / "study")
    with pytest.raises(UsageError, match=r"not the folder of a study: it holds no recipe\.toml"):
        tune(resume=photos)
    (tmp_path / "study/study.db").write_bytes(b"no database" * 1000)
    with pytest.raises(OutputError, match=r"study\.db: file is not a database"):
        tune(resume=tmp_path / "study")


def test_values_that_cannot_be_trained_with_do_not_end_the_search(photos, space, tmp_path, monkeypatch):
    text = """
    [optim]
    lr = [0.01, 100.0]
    [model.arguments]
    hidden = [[4], [1_000_000_000_000]]
    """
    # Decay at such a rate makes every weight some thousand times larger in every step.
    settings = ("optim.name=sgd", "optim.weight_decay=10", "optim.lr=0.01", "schedule.shape=constant")
    # Beyond what a network may ask for, so that it takes no memory to find that there is too little.
    monkeypatch.setattr(building, "MAX_ARGUMENT", 10**13)
    result = tune(recipe_for(photos, *settings, epochs=4), space(text), output=tmp_path / "study", num_trials=12)
    reasons = {}
    for trial in result.trials:
        values = trial.values
        if values["model.arguments.hidden"] != [4]:
            expected = "out_of_memory"
        else:
            expected = "diverged" if values["optim.lr"] == 100 else "complete"
        assert trial.state == expected
        reasons.setdefault(expected, trial.reason)
    assert result.best.number == 0
    assert {"complete", "out_of_memory"} <= set(reasons)
    assert "memory" in reasons["out_of_memory"]
    # However many trials are asked for, nothing is trained twice, and nothing is left to try.
    trained = [trial.number for trial in result.trials if "the same values" not in trial.reason]
    assert len(trained) <= 4
    assert len({repr(trial.values) for trial in result.trials}) == len(trained)


@pytest.mark.parametrize(
    ("text", "settings", "error", "said"),
    [
        ("[optim]\nlr = [99.0, 100.0]", ("optim.weight_decay=10",), DataError, "diverged, the loss became"),
        ("[model.arguments]\nhidden = [[1_000_000_000_000], [1_000_000_000_001]]", (), DeviceError, "out of memory, "),
        ("[train]\nresolution = [[[0.5, 8]], [[0.6, 8]]]", (), ConfigError, "refused, train.resolution doesn't go"),
    ],
)
def test_a_search_in_which_nothing_can_be_trained_says_why(
    photos, space, tmp_path, monkeypatch, text, settings, error, said
):
    monkeypatch.setattr(building, "MAX_ARGUMENT", 10**13)
    settings = ("optim.name=sgd", "schedule.shape=constant", *settings)
    with pytest.raises(error, match="none of 2 trials could be trained to its end; the last, trial 1: ") as caught:
        tune(recipe_for(photos, *settings, epochs=4), space(text), output=tmp_path / "study", num_trials=2)
    assert said in caught.value.message
    assert not (tmp_path / "study/best.toml").exists()
    assert len((tmp_path / "study/trials.csv").read_text().splitlines()) == 3


def test_a_trial_that_does_badly_is_given_up(photos, space, tmp_path):
    events = []
    recipe = recipe_for(photos, "optim.lr=0.03", "schedule.shape=constant", epochs=4)
    text = "[optim]\nlr = [0.03, 1e-7]\n"
    result = tune(
        recipe, space(text), output=tmp_path / "study", num_trials=6, pruner="halving", on_event=events.append
    )
    good, bad = (next(t for t in result.trials if t.values["optim.lr"] == lr) for lr in (0.03, 1e-7))
    assert (good.number, good.state) == (0, "complete")
    assert (bad.state, bad.epoch, bad.reason) == ("pruned", 1, "others did better after epoch 1")
    assert sum(isinstance(event, EpochEnd) for event in events) == 4 + 1
    assert not list(bad.run.glob("*.pt"))


def test_test_images_are_never_looked_at(space, tmp_path):
    data = tmp_path / "data"
    write_classes(data / "train", {"red": 20, "green": 20})
    for name in ("red", "green"):
        (data / "test" / name).mkdir(parents=True)
        (data / "test" / name / "0.png").write_bytes(b"not to be opened")
    events = []
    result = tune(recipe_for(data), space(), output=tmp_path / "study", num_trials=2, on_event=events.append)
    assert (events[0].val_fraction, events[0].num_train, events[0].num_val) == (0.1, 36, 4)
    assert load_recipe(result.best.run / "config.toml").data.val_fraction == 0.1
    # What was found is for training on all of them, and for measuring on the test images.
    assert load_recipe(result.best_recipe).data.val_fraction is None
    assert "--set data.val_fraction=0.1" in result.best_recipe.read_text()


def test_without_test_images_the_final_training_keeps_some_back_too(space, tmp_path):
    write_classes(tmp_path / "data", {"red": 20, "green": 20})
    recipe = recipe_for(tmp_path / "data", "data.val_fraction=0")
    result = tune(recipe, space(), output=tmp_path / "study", num_trials=1)
    assert load_recipe(result.best_recipe).data.val_fraction == 0.1
    assert "test images" not in result.best_recipe.read_text()


def test_cifar10_is_searched_on_a_part_of_its_training_images(space, tmp_path):
    data = write_cifar10(tmp_path / "cifar-10-batches-py")
    events = []
    recipe = recipe_for(data, "data.allow_modified=true", "data.image_px=32", "train.patience=5")
    result = tune(recipe, space(), output=tmp_path / "study", num_trials=1, on_event=events.append)
    assert (events[0].num_train, events[0].num_val, result.data["split"]) == (18, 2, "val")
    assert json.loads((result.best.run / "result.json").read_text())["test"] is None
    # A recipe that is to stop early needs images to choose by in the final training too.
    assert load_recipe(result.best_recipe).data.val_fraction == 0.1
    assert "--set data.val_fraction" not in result.best_recipe.read_text()


def test_images_are_opened_once_for_all_trials(photos, space, tmp_path, monkeypatch):
    opened = []
    import imgcls.tuning.trial

    real = imgcls.tuning.trial.open_data

    def noted(recipe, **options):
        opened.append(recipe.data.image_px)
        return real(recipe, **options)

    monkeypatch.setattr(imgcls.tuning.trial, "open_data", noted)
    tune(recipe_for(photos), space(), output=tmp_path / "study", num_trials=3)
    assert opened == [8]


def test_a_full_disk_is_no_trials_fault(photos, space, tmp_path, monkeypatch):
    from imgcls.host.files import output_error
    from imgcls.runs.folder import RunFolder

    def full(self, row):
        raise output_error(self.path, OSError(28, "No space left on device"))

    monkeypatch.setattr(RunFolder, "append_metrics", full)
    with pytest.raises(OutputError, match="No space left"):
        tune(recipe_for(photos), space(), output=tmp_path / "study", num_trials=2)
    monkeypatch.undo()
    assert tune(resume=tmp_path / "study").counts == {"complete": 2}


def running_trials(study):
    # Opened for writing: SQLite has to roll back what a killed process left half-done.
    with contextlib.closing(sqlite3.connect(study / "study.db")) as database:
        found = database.execute("SELECT number FROM trials WHERE state = 'RUNNING'").fetchall()
    return [number for (number,) in found]


def wait_for(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def tune_arguments(photos, space):
    settings = [
        part
        for setting in ("model.name=mlp", "model.arguments.hidden=[4]", "data.image_px=8", "train.batch_size=8")
        for part in ("--set", setting)
    ]
    return ["tune", *settings, "--space", space(), "--data", photos]


@pytest.mark.skipif(os.name == "nt", reason="a process can't be killed so on Windows")
def test_a_killed_study_ends_as_if_it_never_had_been(imgcls, tune_arguments, photos, space, tmp_path):
    expected = tune(recipe_for(photos, epochs=12), space(), output=tmp_path / "whole", num_trials=4)
    arguments = [*tune_arguments, "--epochs", 12, "--trials", 4, "-o", tmp_path / "cut"]
    command = imgcls.start(*arguments)
    metrics = tmp_path / "cut/trials/0001/metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.stat().st_size)
    command.kill(9)
    assert command.wait().code == -9, "the process was killed too late to show anything"
    cut = running_trials(tmp_path / "cut")
    events = []
    resumed = tune(resume=tmp_path / "cut", on_event=events.append)
    assert facts(resumed) == facts(expected)
    # In the middle of a trial almost certainly, which then is the first to go on.
    begun = [event.number for event in events if isinstance(event, TrialStarted)]
    assert begun == list(range(begun[0], 4))
    assert cut in ([], begun[:1])


@pytest.mark.skipif(os.name == "nt", reason="a process can't be killed so on Windows")
def test_a_trial_that_makes_progress_survives_any_number_of_kills(imgcls, tune_arguments, tmp_path):
    study = tmp_path / "study"
    metrics, start = study / "trials/0000/metrics.jsonl", [*tune_arguments, "--epochs", 300, "--trials", 1, "-o", study]
    for kill in range(MAX_ATTEMPTS + 1):
        # Each process comes some epochs further than the last one.
        command = imgcls.start(*start) if kill == 0 else imgcls.start("tune", "--resume", study)
        before = num_lines(metrics)
        wait_for(lambda before=before: num_lines(metrics) >= before + 3)
        command.kill(9)
        assert command.wait().code == -9, "the process was killed too late to show anything"
    assert tune(resume=study).counts == {"complete": 1}


def num_lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.parametrize("left", [(".recipe.toml.x.part",), (".lock", "space.toml", ".recipe.toml.x.part")])
def test_a_folder_that_a_killed_start_left_takes_the_same_start_again(photos, space, tmp_path, left):
    study = tmp_path / "study"
    study.mkdir()
    for name in left:
        (study / name).write_text(SPACE if name == "space.toml" else "")
    assert tune(recipe_for(photos), space(), output=study, num_trials=1).counts == {"complete": 1}


def test_a_space_of_ones_own_in_the_folder_is_not_replaced(photos, space, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    (study / "space.toml").write_text("# mine\n")
    with pytest.raises(OutputError, match="is not empty"):
        tune(recipe_for(photos), space(), output=study, num_trials=1)
    assert (study / "space.toml").read_text() == "# mine\n"


def is_free(study):
    """Whether nobody holds the study's lock or its database at this moment."""
    try:
        with (
            FileLock(study / ".lock", timeout=0),
            contextlib.closing(sqlite3.connect(study / "study.db", timeout=0)) as db,
        ):
            db.execute("BEGIN IMMEDIATE")
            return True
    except (Timeout, sqlite3.OperationalError):
        return False


@pytest.mark.skipif(os.name == "nt", reason="a process can't be halted so on Windows")
def test_two_processes_share_a_study(imgcls, tune_arguments, tmp_path):
    study = tmp_path / "study"
    first = imgcls.start(*tune_arguments, "--epochs", 10, "--trials", 4, "-o", study)
    wait_for(lambda: (study / "trials/0000/config.toml").exists())
    first.kill(signal.SIGSTOP)
    while not is_free(study):
        first.kill(signal.SIGCONT)
        time.sleep(0.005)
        first.kill(signal.SIGSTOP)
    halted = running_trials(study)
    assert len(halted) == 1, "the first process was halted too late to show anything"
    second = imgcls("tune", "--resume", study, "-f", "json")
    assert second.code == 0, second.stderr
    states = [trial["state"] for trial in json.loads(second.stdout)["trials"]]
    assert states == ["running" if number in halted else "complete" for number in range(4)]
    assert "1 of the trials is still running in another process" in second.stderr
    first.kill(signal.SIGCONT)
    end = first.wait()
    assert end.code == 0, end.stderr
    assert "trials  4 of 4 over: 4 complete" in end.stdout.decode()
    # Each trial was begun once: one line for each, from whichever process it was.
    ended = [
        line.split()[1] for said in (end.stderr, second.stderr) for line in said.splitlines() if "complete" in line
    ]
    assert sorted(ended) == ["0", "1", "2", "3"]
