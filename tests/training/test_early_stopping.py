import json

import pytest
from tiny_runs import assert_same_metrics, assert_same_weights, recipe_for, stop_after

from imgcls.errors import ConfigError
from imgcls.runs.result import Score
from imgcls.training.early_stopping import is_out_of_patience, or_after
from imgcls.training.run import train

# Weights that don't move: every epoch scores as the first.
STILL = ("optim.lr=1e-30", "optim.weight_decay=0", "model.name=mlp", "model.arguments={hidden=[4]}")


@pytest.mark.parametrize(
    ("best", "last", "patience", "over"),
    [(1, 3, 2, True), (2, 3, 2, False), (3, 3, 1, False), (1, 9, 0, False), (None, None, 1, False)],
)
def test_when_patience_is_over(best, last, patience, over):
    scores = [None if epoch is None else Score(epoch, 0.5, 1.0) for epoch in (best, last)]
    assert is_out_of_patience(*scores, patience=patience) is over


def test_time_is_up_only_when_it_is():
    assert or_after(lambda: "SIGINT", 1e-9)() == "SIGINT"
    assert or_after(lambda: None, 1e-9)() == "max-time"
    assert or_after(lambda: None, 1e9)() is None
    assert or_after(lambda: None, None)() is None


@pytest.mark.parametrize("asked", [None, 4, 8])
def test_a_run_without_progress_ends_early_wherever_it_was_cut(photos, tmp_path, asked):
    recipe = recipe_for(photos, *STILL, "train.patience=2", **{"train.epochs": 9})
    if asked is not None:
        assert train(recipe, output=tmp_path / "run", should_stop=stop_after(asked)).stopped == "SIGINT"
    result = train(recipe if asked is None else None, **{"output" if asked is None else "resume": tmp_path / "run"})
    assert (result.stopped, result.epochs, result.best.epoch, result.last.epoch) == ("early", 3, 1, 3)
    assert json.loads((tmp_path / "run/result.json").read_text())["stopped"] == "early"
    # It has nothing left to do.
    again = train(resume=tmp_path / "run")
    assert (again.stopped, again.epochs, again.last) == ("early", 3, result.last)


def test_an_early_end_is_measured_on_the_test_images(photos, tmp_path):
    data = tmp_path / "split"
    for path in photos.rglob("*.png"):
        copy = data / ("test" if path.stem in "89" else "train") / path.relative_to(photos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    recipe = recipe_for(data, *STILL, "train.patience=1", "data.val_fraction=0.25", **{"train.epochs": 9})
    result = train(recipe, output=tmp_path / "run")
    assert (result.stopped, result.epochs, result.test["count"]) == ("early", 2, 6)
    without = recipe_for(data, "train.patience=1")
    with pytest.raises(
        ConfigError, match=r"train\.patience = 1 needs validation images; the test images choose"
    ) as caught:
        train(without, output=tmp_path / "refused")
    assert "data.val_fraction" in caught.value.hint
    assert not (tmp_path / "refused").exists()


def test_a_run_in_slices_of_one_step_equals_a_run_in_one(photos, tmp_path):
    recipe = recipe_for(photos, "augment.cutout_px=2", "train.ema_decay=0.9")
    train(recipe, output=tmp_path / "whole", max_sec=1e9)
    result = train(recipe, output=tmp_path / "cut", max_sec=1e-9)
    slices = 1
    while result.stopped == "max-time":
        result = train(resume=tmp_path / "cut", max_sec=1e-9)
        slices += 1
    # The last step of an epoch isn't asked about before the epoch is measured and saved.
    assert (result.stopped, result.epochs, slices) == (None, 3, 9)
    assert_same_weights(tmp_path / "whole", tmp_path / "cut")
    assert_same_metrics(tmp_path / "whole", tmp_path / "cut")
