"""What a run says of settings that contradict each other, and how a finished one goes on."""

import pytest
from labelled_data import write_classes
from tiny_runs import assert_same_weights, recipe_for

from imgcls.errors import ConfigError
from imgcls.recipes.loading import load_recipe
from imgcls.runs.events import Started
from imgcls.training.run import train


def warnings_of(recipe, folder):
    events = []
    train(recipe, output=folder, on_event=events.append, device="cpu")
    (started,) = [event for event in events if isinstance(event, Started)]
    return started.warnings


def test_few_steps_are_said_to_be_few(photos, tmp_path):
    (text,) = warnings_of(recipe_for(photos, **{"train.epochs": 1}), tmp_path / "few")
    assert text.startswith("3 steps in all are too few to learn much")
    assert not warnings_of(recipe_for(photos, **{"train.epochs": 4}), tmp_path / "enough")


@pytest.mark.parametrize("shape", ["one-cycle", "cosine", "linear", "constant", "step"])
def test_patience_beside_a_schedule_that_gets_best_at_its_end(photos, tmp_path, shape):
    recipe = recipe_for(photos, "train.patience=9", f"schedule.shape={shape}", **{"train.epochs": 4})
    said = [text for text in warnings_of(recipe, tmp_path / "run") if "train.patience = 9" in text]
    assert bool(said) == (shape in ("one-cycle", "cosine", "linear"))


def test_a_share_beside_a_folder_that_validates(tmp_path):
    for split, count in (("train", 20), ("val", 3)):
        write_classes(tmp_path / "data" / split, {"a": count, "b": count})
    flags = {"data.source": str(tmp_path / "data"), "model.name": "mlp", "data.val_fraction": 0.2}
    said = warnings_of(load_recipe(assignments=["data.image_px=8"], flags=flags), tmp_path / "run")
    assert any("data.val_fraction = 0.2 changes nothing" in text for text in said)


def test_a_finished_run_at_a_constant_rate_gets_more_epochs(photos, tmp_path):
    constant = ("schedule.shape=constant", "schedule.warmup=0")
    train(recipe_for(photos, *constant), output=tmp_path / "run", device="cpu")
    longer = recipe_for(photos, *constant, **{"train.epochs": 5})
    assert train(longer, resume=tmp_path / "run", device="cpu").epochs == 5
    assert load_recipe(tmp_path / "run/config.toml").train.epochs == 5
    train(longer, output=tmp_path / "whole", device="cpu")
    assert_same_weights(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("settings", [(), ("schedule.shape=constant", "schedule.warmup=0.9")])
def test_one_with_another_schedule_says_how_to_go_on(photos, tmp_path, settings):
    train(recipe_for(photos, *settings), output=tmp_path / "run", device="cpu")
    with pytest.raises(ConfigError, match="can't be made longer") as raised:
        train(recipe_for(photos, *settings, **{"train.epochs": 5}), resume=tmp_path / "run", device="cpu")
    assert raised.value.hint.startswith(f"imgcls train -m {tmp_path / 'run'} --data {photos} --epochs 2")
