import json
import shutil
import threading

import pytest
import torch
from labelled_data import damage
from tiny_runs import assert_same_metrics, assert_same_weights, recipe_for, stop_after

from imgcls.datasets.opening import open_dataset
from imgcls.errors import ConfigError, DataError, DeviceError, ModelError, OutputError, UsageError
from imgcls.host.data_files import json_text
from imgcls.models.checkpoint import load_checkpoint
from imgcls.models.loading import load_model
from imgcls.recipes.loading import load_recipe
from imgcls.recipes.schema import transform_of
from imgcls.runs.events import EpochEnd, Started
from imgcls.runs.folder import RunFolder
from imgcls.runs.result import Score
from imgcls.training.checkpointing.schedule import Checkpointing
from imgcls.training.loop import Loop
from imgcls.training.run import train
from imgcls.training.setup.checks import check_device_fits


def test_a_run_leaves_its_folder_and_says_the_same_in_it(photos, tmp_path):
    events = []
    result = train(recipe_for(photos), output=tmp_path / "run", on_event=events.append)
    run = tmp_path / "run"
    assert {path.name for path in run.iterdir()} - {".lock"} == {
        "config.toml", "metrics.jsonl", "best.pt", "last.pt", "result.json"
    }  # fmt: skip
    assert load_recipe(run / "config.toml") == recipe_for(photos)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert rows == json.loads(json_text([event.to_dict() for event in events if isinstance(event, EpochEnd)]))
    assert [(row["epoch"], row["step"], row["images"]) for row in rows] == [(1, 3, 24), (2, 6, 48), (3, 9, 72)]
    for row, before in zip(rows, [{"elapsed_sec": 0}, *rows], strict=False):
        assert 0 < row["validation_sec"] < row["elapsed_sec"]
        assert row["elapsed_sec"] >= before["elapsed_sec"] + row["seconds"] + row["validation_sec"]
    written = json.loads((run / "result.json").read_text())
    assert written == json.loads(json_text(result.to_dict()))
    assert written["schema"] == 1
    assert written["epochs"] == written["last"]["epoch"] == 3
    assert written["best"] == max(
        ({key: row[key] for key in ("epoch", "top1", "loss")} for row in rows),
        key=lambda row: (row["top1"], -row["loss"]),
    )
    assert (written["skipped_images"], written["device"], written["seed"]) == (0, result.device, 0)
    assert written["train_sec"] == pytest.approx(sum(row["seconds"] for row in rows), abs=1e-2)
    best = load_checkpoint(run / "best.pt")
    assert best.classes == ("blue", "green", "red")
    assert best.metrics["top1"] == result.best.top1
    assert best.metrics["epoch"] == result.best.epoch
    assert best.recipe == recipe_for(photos).to_dict()
    assert not best.resume
    started = events[0]
    assert isinstance(started, Started)
    assert (started.num_train, started.num_val, started.validates_on) == (24, 6, "val")


def test_it_learns_and_the_model_can_be_loaded(photos, tmp_path):
    recipe = recipe_for(photos, "schedule.shape=constant", "optim.lr=0.01", **{"train.epochs": 15})
    result = train(recipe, output=tmp_path / "run")
    assert result.best.top1 == 1.0
    assert load_model(str(tmp_path / "run")).classes == ("blue", "green", "red")


@pytest.mark.parametrize("asked", [2, 3, 5, 7])
def test_stopped_anywhere_and_resumed_equals_uninterrupted(photos, tmp_path, asked):
    recipe = recipe_for(photos, "train.ema_decay=0.8", "augment.cutout_px=2", "augment.flip=alternate")
    expected = train(recipe, output=tmp_path / "whole")
    stopped = train(recipe, output=tmp_path / "cut", should_stop=stop_after(asked))
    assert stopped.stopped == "SIGINT"
    assert json.loads((tmp_path / "cut/result.json").read_text())["stopped"] == "SIGINT"
    assert stopped.epochs < 3
    resumed = train(resume=tmp_path / "cut")
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert (resumed.best, resumed.last, resumed.stopped) == (expected.best, expected.last, None)
    assert_same_metrics(tmp_path / "whole", tmp_path / "cut")


def test_a_run_that_saved_nothing_begins_again(photos, tmp_path):
    recipe = recipe_for(photos)
    train(recipe, output=tmp_path / "whole")
    with RunFolder.create(tmp_path / "cut", name="cnn") as folder:
        folder.write_config((tmp_path / "whole/config.toml").read_text())
    train(resume=tmp_path / "cut")
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")


def test_lines_beyond_the_saved_epoch_are_dropped(photos, tmp_path):
    run = tmp_path / "run"
    train(recipe_for(photos), output=run, should_stop=stop_after(3))
    (line,) = (run / "metrics.jsonl").read_text().splitlines()
    with (run / "metrics.jsonl").open("a") as file:
        file.write(line.replace('"epoch": 1', '"epoch": 2') + '\n{"epoch": 3, "st')
    train(resume=run)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]


def test_a_finished_run_has_nothing_left_to_do(photos, tmp_path):
    first = train(recipe_for(photos), output=tmp_path / "run")
    before = (tmp_path / "run/last.pt").read_bytes()
    again = train(resume=tmp_path / "run")
    assert (again.best, again.last, again.epochs, again.train_sec) == (first.best, first.last, 3, first.train_sec)
    assert (tmp_path / "run/last.pt").read_bytes() == before


def test_another_recipe_is_refused_by_its_keys(photos, tmp_path):
    run = tmp_path / "run"
    train(recipe_for(photos), output=run, should_stop=stop_after(2))
    with pytest.raises(ConfigError) as caught:
        train(recipe_for(photos, "optim.lr=0.5", "train.epochs=4", "train.seed=1", **{"train.epochs": 9}), resume=run)
    for text in ("optim.lr was 0.001, now 0.5", "train.epochs was 3, now 9", "train.seed was 0, now 1"):
        assert text in caught.value.message


def test_other_images_are_refused(photos, tmp_path):
    data = tmp_path / "photos"
    for path in photos.rglob("*.png"):
        copy = data / path.relative_to(photos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    run = tmp_path / "run"
    train(recipe_for(data), output=run, should_stop=stop_after(2))
    (data / "red" / "0.png").write_bytes((data / "blue" / "0.png").read_bytes() + b" ")
    with pytest.raises(DataError, match="are not those that the run"):
        train(resume=run)


def test_images_that_could_be_read_then_and_not_now_are_refused(photos, tmp_path):
    """In memory damaged images are left out; where they don't fit, they stay in the order of the epochs."""
    data = tmp_path / "photos"
    shutil.copytree(photos, data)
    damage(data / "red" / "0.png")
    recipe = recipe_for(data)
    train(recipe, output=tmp_path / "run", should_stop=stop_after(2))
    streamed = open_dataset(str(data), transform=transform_of(recipe), max_memory_mib=0, workers=0)
    with pytest.raises(DataError, match=r"and now there are 2\d of the same: damaged ones"):
        train(resume=tmp_path / "run", dataset=streamed)


def test_what_a_cut_run_came_to_is_taken_back_as_it_goes_on(photos, tmp_path):
    train(recipe_for(photos), output=tmp_path / "run", should_stop=stop_after(2))
    result, there = tmp_path / "run" / "result.json", []
    assert result.exists()
    train(resume=tmp_path / "run", on_event=lambda _event: there.append(result.exists()))
    assert not any(there)
    assert json.loads(result.read_text())["stopped"] is None


def test_a_damaged_or_plain_last_checkpoint_cannot_be_resumed(photos, tmp_path):
    run = tmp_path / "run"
    train(recipe_for(photos), output=run, should_stop=stop_after(4))
    (run / "last.pt").write_bytes((run / "best.pt").read_bytes())
    with pytest.raises(ModelError, match="holds nothing to resume from"):
        train(resume=run)
    (run / "last.pt").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match="can't be read"):
        train(resume=run)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_diverging_run_keeps_the_last_good_checkpoint(photos, tmp_path):
    run = tmp_path / "run"
    settings = ("optim.name=sgd", "schedule.shape=constant", "schedule.warmup=0", "train.precision=fp32")
    recipe = recipe_for(photos, *settings)
    train(recipe, output=run, should_stop=stop_after(3))
    good = {name: (run / name).read_bytes() for name in ("best.pt", "last.pt")}
    saved = torch.load(run / "last.pt", weights_only=True)
    matrices = [value for value in saved["weights"].values() if value.ndim == 2]
    matrices[-1].fill_(float("nan"))
    torch.save(saved, run / "last.pt")
    broken = (run / "last.pt").read_bytes()
    with pytest.raises(DataError) as caught:
        train(resume=run)
    assert "the loss became nan at step 4" in caught.value.message
    assert str(run / "best.pt") in caught.value.message
    assert "--lr" in caught.value.hint
    assert (run / "best.pt").read_bytes() == good["best.pt"]
    assert (run / "last.pt").read_bytes() == broken
    assert json.loads((run / "result.json").read_text())["stopped"] == "diverged"


def test_a_rate_far_too_high_stops_the_run(photos, tmp_path):
    settings = (
        "model.name=mlp",
        "optim.name=sgd",
        "optim.lr=100",
        "schedule.shape=constant",
        "train.channels_last=false",
    )
    recipe = load_recipe(
        assignments=(*settings, "data.image_px=8", "train.epochs=60"), flags={"data.source": str(photos)}
    )
    with pytest.raises(DataError, match=r"became (nan|inf)"):
        train(recipe, output=tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.part"))
    for path in (tmp_path / "run").glob("*.pt"):
        assert all(value.isfinite().all() for value in load_checkpoint(path).weights.values())


def test_damaged_images_are_counted_or_refused(photos, tmp_path):
    data = tmp_path / "photos"
    for path in photos.rglob("*.png"):
        copy = data / path.relative_to(photos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (data / "red" / "torn.png").write_bytes((data / "red" / "1.png").read_bytes()[:60])
    result = train(recipe_for(data, **{"train.epochs": 1}), output=tmp_path / "run")
    assert [bad.path.name for bad in result.skipped] == ["torn.png"]
    assert result.to_dict()["skipped_images"] == 1
    with pytest.raises(DataError, match=r"torn\.png"):
        train(recipe_for(data, "data.strict=true"), output=tmp_path / "strict")


def test_test_images_are_measured_and_choose_nothing(photos, tmp_path):
    data = tmp_path / "split"
    for path in photos.rglob("*.png"):
        copy = data / ("test" if path.stem in "89" else "train") / path.relative_to(photos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    events = []
    result = train(recipe_for(data), output=tmp_path / "run", on_event=events.append)
    assert events[0].validates_on == "test"
    assert result.best == result.last
    assert result.test["count"] == 6
    assert result.test["top1"] == pytest.approx(result.last.top1)
    carved = train(recipe_for(data, "data.val_fraction=0.25"), output=tmp_path / "carved", on_event=events.append)
    assert carved.test["count"] == 6


def test_nothing_to_validate_on_keeps_the_last_epoch(photos, tmp_path):
    result = train(recipe_for(photos, "data.val_fraction=0"), output=tmp_path / "run")
    assert result.best == result.last == Score(3, None, None)
    assert result.test is None
    assert (tmp_path / "run/best.pt").is_file()


def test_a_torchvision_network_trains_from_scratch(photos, tmp_path):
    recipe = load_recipe(
        assignments=["data.image_px=32", "train.epochs=1"],
        flags={"data.source": str(photos), "model.name": "shufflenet_v2_x0_5", "train.batch_size": 24},
    )
    result = train(recipe, output=tmp_path / "run")
    assert result.epochs == 1
    assert load_model(str(tmp_path / "run")).name == "shufflenet_v2_x0_5"


def test_the_global_generator_is_given_back(photos, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(recipe_for(photos, **{"train.epochs": 1}), output=tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)


def test_folders_are_never_written_over_nor_shared(photos, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("a year's work")
    with pytest.raises(OutputError, match="is not empty"):
        train(recipe_for(photos), output=tmp_path / "mine")
    with RunFolder.create(tmp_path / "busy", name="cnn") as folder:
        folder.write_config("")
        errors = []

        def second():
            try:
                RunFolder.reopen(tmp_path / "busy")
            except OutputError as exc:
                errors.append(exc)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
        assert "another imgcls train is writing" in errors[0].message
    monkeypatch.chdir(tmp_path)
    first, second_folder = (RunFolder.create(None, name="cnn") for _ in range(2))
    assert first.path.parent.name == "runs"
    assert first.path.name.startswith("cnn-")
    assert first.path != second_folder.path
    first.close()
    second_folder.close()


def test_contradictions_are_said_before_any_work(photos, tmp_path):
    with pytest.raises(UsageError, match="no data set"):
        train(load_recipe())
    with pytest.raises(UsageError, match="contradict"):
        train(output=tmp_path / "a", resume=tmp_path / "b")
    with pytest.raises(UsageError, match="not the folder of a run"):
        train(resume=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="nothing to train"):
        train()
    with pytest.raises(ConfigError, match="doesn't go with mlp"):
        train(recipe_for(photos, "model.name=mlp", "model.arguments={}", "train.resolution=[[0.5, 8]]"))
    with pytest.raises(ConfigError, match=r"more than data\.image_px = 8"):
        train(recipe_for(photos, "train.resolution=[[0.5, 16]]"))


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [
        (Score(2, 0.8, 1.0), Score(1, 0.7, 0.5), True),
        (Score(2, 0.8, 0.4), Score(1, 0.8, 0.5), True),
        (Score(2, 0.8, 0.5), Score(1, 0.8, 0.5), False),
        (Score(2, None, None), Score(1, None, None), True),
        (Score(1, 0.1, 9.0), None, True),
    ],
)
def test_which_epoch_is_better(first, second, better):
    assert first.beats(second) is better


def test_memory_that_runs_out_is_told_with_what_saves_it(photos, tmp_path, monkeypatch):
    # A real allocation that no machine can make.
    monkeypatch.setattr(Loop, "train_on", lambda *_arguments: torch.empty(10**15))
    with pytest.raises(DeviceError, match="out of memory on cpu, with 8 images of 8 px in a step") as caught:
        train(recipe_for(photos), output=tmp_path / "whole", device="cpu")
    assert "--set train.accumulate=2" in caught.value.hint
    assert "--batch-size 4" in caught.value.hint
    assert isinstance(caught.value, MemoryError)
    with pytest.raises(DeviceError, match="in a step of 4 portions") as caught:
        train(recipe_for(photos, "train.accumulate=4"), output=tmp_path / "portions", device="cpu")
    assert caught.value.hint == "--batch-size 4 makes smaller steps"


def test_a_run_that_goes_on_with_other_threads_says_so(photos, tmp_path):
    events = []
    train(recipe_for(photos), output=tmp_path / "run", should_stop=stop_after(2), on_event=events.append, device="cpu")
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        train(resume=tmp_path / "run", should_stop=stop_after(2), on_event=events.append, device="cpu")
    finally:
        torch.set_num_threads(threads)
    first, second = [event for event in events if isinstance(event, Started)]
    assert first.warnings == ()
    (said,) = second.warnings
    assert f"cut on {threads} CPU threads" in said
    assert f"goes on with {threads + 1} CPU threads" in said


def test_uneven_folders_are_told_unless_they_are_weighed(photos, tmp_path):
    data = tmp_path / "photos"
    for path in photos.rglob("*.png"):
        if path.parent.name == "red" or path.stem == "1":
            copy = data / path.relative_to(photos)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    started = []
    for settings in ((), ("optim.class_weights=balanced",)):
        events = []
        recipe = recipe_for(data, "data.val_fraction=0", *settings, **{"train.epochs": 1})
        train(recipe, output=tmp_path / f"run{len(started)}", on_event=events.append)
        started.append(events[0])
    assert any("uneven classes: 10 training images of 'red', 1 of 'blue'" in text for text in started[0].warnings)
    assert not any("uneven" in text for text in started[1].warnings)


def test_saving_within_an_epoch_changes_nothing(photos, tmp_path, monkeypatch):
    settings = ("train.ema_decay=0.8", "augment.cutout_px=2", "augment.flip=alternate")
    train(recipe_for(photos, *settings, "train.save_every_min=0"), output=tmp_path / "never")
    saved = []
    save = Checkpointing.save
    monkeypatch.setattr(Checkpointing, "save", lambda self, last: (saved.append(last), save(self, last)))
    train(recipe_for(photos, *settings, "train.save_every_min=0.000000001"), output=tmp_path / "always")
    positions = [last.resume["loop"]["position"] for last in saved]
    # Three steps make an epoch.
    within = [(at["epoch"], at["batch"]) for at in positions if at["batch"]]
    assert within == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    assert_same_weights(tmp_path / "never", tmp_path / "always")
    assert_same_metrics(tmp_path / "never", tmp_path / "always")


def test_several_processes_do_not_compile_yet(photos):
    with pytest.raises(ConfigError, match=r"train\.compile doesn't go with 2 processes"):
        check_device_fits(recipe_for(photos, "train.compile=true"), torch.device("cpu"), num_processes=2)
