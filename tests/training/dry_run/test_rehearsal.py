import json
import tempfile

import pytest
import torch
from labelled_data import damage, write_classes
from run_events import started

from imgcls.errors import ConfigError, DataError, DeviceError, ModelError, OutputError, UsageError
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, save_checkpoint
from imgcls.recipes.loading import load_recipe
from imgcls.runs.events import FeatureProgress
from imgcls.training.dry_run import step_clock
from imgcls.training.dry_run.rehearsal import dry_run
from imgcls.training.dry_run.report import DryRun, StepKind
from imgcls.training.dry_run.step_clock import StepClock, sec_per_image
from imgcls.training.run import train

WIDTHS = "model.arguments.widths=[4, 4, 8, 8]"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("data") / "photos", {"red": 10, "green": 10, "blue": 10})


@pytest.fixture(autouse=True)
def short(tmp_path, monkeypatch):
    """An empty folder to be in, another for what is temporary, and no second of waiting."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(step_clock, "MIN_SEC", 0)


def recipe_for(folder, *settings, **flags):
    settings = ("data.image_px=16", "train.batch_size=4", *settings)
    if not any(setting.startswith("model.name") for setting in settings):
        settings = (WIDTHS, *settings)
    return load_recipe(assignments=settings, flags={"data.source": str(folder), "train.epochs": 5, **flags})


def test_everything_is_tried_and_nothing_is_kept(photos, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    recipe = recipe_for(photos, "train.resolution=[[0.5, 8]]", "train.ema_decay=0.9")
    found = dry_run(recipe)
    assert torch.equal(torch.rand(3), expected)
    assert not list((tmp_path / "here").iterdir())
    assert not list((tmp_path / "temporary").glob("imgcls*"))
    events = []
    train(recipe, output=tmp_path / "run", on_event=events.append)
    # But for the folder, it said what the run says.
    assert found.started.num_parameters == events[0].num_parameters
    assert (found.started.num_train, found.started.num_val) == (24, 6)
    # Six steps an epoch.
    assert [(kind.image_px, kind.frozen, kind.num_steps) for kind in found.kinds] == [(8, False, 15), (16, False, 15)]
    assert all(kind.step_sec > 0 and kind.first_sec > 0 and kind.feature_sec is None for kind in found.kinds)
    assert found.validation_sec > 0
    assert found.test_sec is None
    assert found.total_sec > sum(kind.num_steps * kind.step_sec for kind in found.kinds) + 5 * found.validation_sec
    for name, size in (("last.pt", found.last_bytes), ("best.pt", found.best_bytes)):
        assert size == pytest.approx((tmp_path / "run" / name).stat().st_size, rel=0.1)
    answer = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert answer["dry_run"] is True
    assert (answer["schema"], answer["steps_per_epoch"], answer["epochs"]) == (1, 6, 5)
    assert answer["host_total_bytes"] > answer["host_peak_bytes"] > 2**20


def test_a_frozen_body_is_tried_too(photos, tmp_path):
    arguments = {"widths": [4, 4, 8, 8]}
    weights = build_network("cnn", num_classes=2, arguments=arguments).state_dict()
    checkpoint = Checkpoint("cnn", arguments, ("cat", "dog"), Transform(16, 16), weights)
    save_checkpoint(checkpoint, tmp_path / "start.pt")
    settings = (f"model.weights={tmp_path / 'start.pt'}", "finetune.head_epochs=2", "augment.flip=off")
    found = dry_run(recipe_for(photos, *settings))
    assert [(kind.frozen, kind.num_steps) for kind in found.kinds] == [(True, 12), (False, 18)]
    assert found.kinds[0].feature_sec > 0
    assert found.kinds[1].feature_sec is None


def test_fewer_steps_than_are_measured(photos):
    found = dry_run(recipe_for(photos, "data.val_fraction=0", **{"train.epochs": 1, "train.batch_size": 64}))
    assert found.started.steps_per_epoch == 1
    assert found.kinds[0].step_sec == found.kinds[0].first_sec
    assert (found.validation_sec, found.started.validates_on) == (None, None)


def test_what_it_would_warn_of(photos, tmp_path, monkeypatch):
    data = write_classes(tmp_path / "data", {"red": 10, "green": 10})
    torn = damage(data / "red" / "003.png")
    found = dry_run(recipe_for(data))
    assert [bad.path for bad in found.skipped] == [torn]
    assert found.to_dict()["skipped_images"] == 1
    assert not [text for text in found.warnings if "MiB are free" in text]
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1000}))
    assert "0 MiB are free" in dry_run(recipe_for(data)).warnings[-1]


def test_it_fails_as_the_run_would(photos, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("")
    for error, recipe, settings in (
        (UsageError, load_recipe(), {}),
        (DataError, recipe_for("nowhere"), {}),
        (ModelError, recipe_for(photos, "model.arguments.width=1"), {}),
        (ConfigError, recipe_for(photos, "train.patience=1", "data.val_fraction=0"), {}),
        (OutputError, recipe_for(photos), {"output": tmp_path / "full"}),
        (DeviceError, recipe_for(photos), {"device": "cuda:99"}),
    ):
        with pytest.raises(error):
            dry_run(recipe, **settings)
    with pytest.raises(DataError, match="became"):
        dry_run(recipe_for(photos, "model.name=mlp", "optim.name=sgd", "schedule.shape=constant", "optim.lr=100"))
    assert not list((tmp_path / "temporary").glob("imgcls*"))


def build(*kinds, **changes):
    values = {
        "started": started(), "batch_size": 100, "kinds": kinds, "validation_sec": 3.0, "test_sec": None,
        "saving_sec": 1.0, "last_bytes": 300, "best_bytes": 100, "free_bytes": 10**9, "host_peak_bytes": None,
        "host_total_bytes": None, "device_peak_bytes": None, "device_total_bytes": None,
    }  # fmt: skip
    return DryRun(**(values | changes))


def test_the_time_of_a_run_by_hand():
    # 4 epochs of 10 steps.
    found = build(StepKind(32, False, 40, 2.0, 7.0, None), test_sec=6.0)
    assert found.epoch_sec == 20 + 3 + 1
    assert found.total_sec == 40 * 2 + 5 + 4 * (3 + 1) + 6
    two = build(StepKind(16, False, 20, 0.5, 0.5, None), StepKind(32, False, 20, 2.0, 2.0, None))
    assert two.total_sec == 20 * 0.5 + 20 * 2 + 4 * (3 + 1)
    # A frozen backbone: once over all training and validation images; saving is put off, as an epoch takes no time.
    frozen = build(StepKind(32, True, 40, None, None, 50.0))
    assert frozen.total_sec == 50 + 3
    assert build(StepKind(32, False, 40, 2.0, 2.0, None), validation_sec=None).total_sec == 80 + 4


def test_enough_steps_are_those_after_the_first_two(monkeypatch):
    times = iter([0.0, 9.0, 12.0, *(12.0 + second for second in range(1, 100))])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    monkeypatch.setattr(step_clock, "MIN_SEC", 1.0)
    monkeypatch.setattr(step_clock, "MAX_SEC", 1000.0)
    clock = StepClock(torch.device("cpu"))
    answers = []
    while not answers or answers[-1] is None:
        answers.append(clock.should_stop())
    assert len(answers) == 2 + step_clock.MIN_STEPS
    step_sec, first_sec = clock.step_sec(min)
    assert first_sec == 9.0
    assert step_sec < 3.0
    assert clock.feature_sec(10) is None


def test_the_first_batch_of_features_warms_up():
    assert sec_per_image([(0.0, 0), (8.0, 10), (9.0, 20), (10.0, 30)]) == pytest.approx(0.1)
    assert sec_per_image([(0.0, 0), (8.0, 10)]) == pytest.approx(0.8)
    clock = StepClock(torch.device("cpu"))
    for done in (10, 20, 30, 40):
        clock.on_event(FeatureProgress(done, 40))
        clock.should_stop()
    assert clock.step_sec(min) == (None, None)
    assert clock.feature_sec(1000) > 0
