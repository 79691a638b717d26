"""Saving less often than at every epoch loses nothing but time."""

import json

import pytest
import torch
from labelled_data import write_classes

from imgcls.models.checkpoint import load_checkpoint
from imgcls.recipes.loading import load_recipe
from imgcls.runs.events import EpochEnd
from imgcls.training.checkpointing import schedule
from imgcls.training.loss import DivergedError, diverged
from imgcls.training.run import train


class KilledError(Exception):
    """In the place of a signal that nothing can catch."""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    # After the first epoch there is no saving until it can't be put off.
    monkeypatch.setattr(schedule, "PAUSE_FACTOR", 1e9)
    photos = write_classes(tmp_path / "photos", {"cat": 8, "dog": 8})
    settings = ("model.arguments.widths=[4]", "data.image_px=8", "train.batch_size=4")
    return load_recipe(assignments=settings, flags={"data.source": str(photos), "train.epochs": 6})


def kill_after(epoch):
    def on_event(event):
        if isinstance(event, EpochEnd) and event.epoch == epoch:
            raise KilledError

    return on_event


def test_what_was_not_saved_is_done_again(recipe, tmp_path):
    expected = train(recipe, output=tmp_path / "whole")
    with pytest.raises(KilledError):
        train(recipe, output=tmp_path / "cut", on_event=kill_after(4))
    assert load_checkpoint(tmp_path / "cut/last.pt").metrics["epoch"] == 1
    assert load_checkpoint(tmp_path / "cut/best.pt").metrics["epoch"] == 1
    assert len((tmp_path / "cut/metrics.jsonl").read_text().splitlines()) == 4
    resumed = train(resume=tmp_path / "cut")
    assert (resumed.best, resumed.last) == (expected.best, expected.last)
    for name in ("best.pt", "last.pt"):
        whole, cut = (load_checkpoint(tmp_path / run / name) for run in ("whole", "cut"))
        assert whole.metrics == cut.metrics
        assert all(torch.equal(value, cut.weights[key]) for key, value in whole.weights.items())
    rows = [json.loads(line)["epoch"] for line in (tmp_path / "cut/metrics.jsonl").read_text().splitlines()]
    assert rows == [1, 2, 3, 4, 5, 6]


def test_the_best_epoch_is_kept_as_it_was_then(recipe, tmp_path, monkeypatch):
    result = train(recipe, output=tmp_path / "seldom")
    monkeypatch.setattr(schedule, "PAUSE_FACTOR", 0)
    train(recipe, output=tmp_path / "often")
    seldom, often = (load_checkpoint(tmp_path / run / "best.pt") for run in ("seldom", "often"))
    assert seldom.metrics == often.metrics
    assert (seldom.metrics["epoch"], seldom.metrics["top1"]) == (result.best.epoch, result.best.top1)
    assert all(torch.equal(value, often.weights[key]) for key, value in seldom.weights.items())


def test_a_run_that_diverges_or_is_stopped_leaves_its_best(recipe, tmp_path, monkeypatch):
    from imgcls.training.session import Session

    original = Session.check_weights

    def check(self):
        if self.loop.position.epoch == 4:
            raise diverged("a weight became NaN", 0.1, step=1)
        original(self)

    monkeypatch.setattr(Session, "check_weights", check)
    with pytest.raises(DivergedError):
        train(recipe, output=tmp_path / "diverged")
    result = json.loads((tmp_path / "diverged/result.json").read_text())
    assert load_checkpoint(tmp_path / "diverged/best.pt").metrics["epoch"] == result["best"]["epoch"]
    asked = iter(range(1, 1000))
    train(recipe, output=tmp_path / "stopped", should_stop=lambda: "SIGINT" if next(asked) >= 9 else None)
    assert load_checkpoint(tmp_path / "stopped/last.pt").metrics["epoch"] >= 2
