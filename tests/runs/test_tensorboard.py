import importlib.util

import pytest
from run_events import STARTED, epoch_end, progress, started

from imgcls.errors import OutputError, UsageError
from imgcls.runs.tensorboard import FOLDER, TensorBoardLog


def read(folder):
    """Points by tag, as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    points = {tag: [(point.step, point.value) for point in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    texts = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}
    return points, texts


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.toml").write_text('[model]\nname = "cnn"\n')
    return tmp_path


def write(run, events, **changes):
    with TensorBoardLog() as log:
        for event in (started(run=run, **changes), *events):
            log.on_event(event)


def test_what_tensorboard_reads_back(run):
    write(run, [progress(1, 4), progress(1, 10), epoch_end(1), progress(2, 10), progress(2, 10), epoch_end(2)])
    points, texts = read(run / FOLDER)
    assert points["train/lr"] == [(step, pytest.approx(0.1)) for step in (4, 10, 20)]
    assert points["train/images_per_sec"] == [(4, 500), (10, 500), (20, 500)]
    assert points["train/epoch_loss"] == [(10, 2), (20, 1)]
    assert points["val/loss"] == [(10, 2.5), (20, 1.25)]
    assert points["val/top1"] == [(10, 0.5), (20, pytest.approx(2 / 3))]
    assert points["val/top5"] == [(10, 1), (20, 1)]
    assert texts == {"recipe/text_summary": '    [model]\n    name = "cnn"'}


def test_losses_are_of_the_steps_since_the_last_point(run):
    import dataclasses

    # Four steps of loss 3, then four of 1: their mean is 2.
    write(run, [dataclasses.replace(progress(1, 4), loss=3.0), dataclasses.replace(progress(1, 8), loss=2.0)])
    points, _texts = read(run / FOLDER)
    assert points["train/loss"] == [(4, 3), (8, 1)]


def test_a_resumed_run_draws_no_sawtooth(run):
    write(run, [progress(1, 10), epoch_end(1), progress(2, 6), progress(2, 9)])
    # It was killed, and goes on from the end of the first epoch.
    write(run, [progress(2, 5), progress(2, 10), epoch_end(2)], done_epochs=1)
    points, _texts = read(run / FOLDER)
    assert [step for step, _value in points["train/loss"]] == [10, 15, 20]
    assert [step for step, _value in points["val/top1"]] == [10, 20]


def test_a_run_that_had_nothing_left_to_do_writes_nothing(run):
    write(run, [], done_epochs=4)
    assert not (run / FOLDER).exists()


def test_without_validation(run):
    write(run, [epoch_end(1, split=None, loss=None, top1=None, top5=None)], validates_on=None)
    assert set(read(run / FOLDER)[0]) == {"train/epoch_loss"}


def test_missing_is_said_before_anything_else(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    with pytest.raises(UsageError) as caught:
        TensorBoardLog()
    assert caught.value.hint == "pip install 'imgcls[tensorboard]'"


def test_a_folder_that_cant_be_made(run):
    (run / FOLDER).write_text("a file")
    assert STARTED.run != run
    with pytest.raises(OutputError, match="tensorboard"):
        write(run, [progress(1, 4)])
