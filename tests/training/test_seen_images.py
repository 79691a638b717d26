"""No accuracy is passed off as one on new images where the network was trained on them."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from imgcls.errors import DataError
from imgcls.evaluation.run import evaluate
from imgcls.models.checkpoint import load_checkpoint
from imgcls.recipes.loading import load_recipe
from imgcls.runs.events import Started
from imgcls.training.run import train
from imgcls.tuning.study import tune

SETTINGS = ["data.image_px=8", "train.epochs=30", "optim.lr=0.01", "schedule.shape=constant", "train.batch_size=16"]


def write_noise(folder, *, seed=0, count=30):
    generator = np.random.default_rng(seed)
    for name in "abc":
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    return folder


def recipe_of(source, *settings, **flags):
    return load_recipe(
        assignments=[*SETTINGS, *settings], flags={"data.source": str(source), "model.name": "mlp", **flags}
    )


@pytest.fixture(scope="module")
def learnt_by_heart(tmp_path_factory):
    """A run on pure noise, and its images: it knows those that it trained on, and nothing else."""
    folder = tmp_path_factory.mktemp("heart")
    write_noise(folder / "noise")
    result = train(recipe_of(folder / "noise"), output=folder / "run", device="cpu")
    assert result.last.top1 < 0.7
    return folder


@pytest.fixture
def copied(learnt_by_heart, tmp_path):
    shutil.copytree(learnt_by_heart, tmp_path / "here")
    (learnt_by_heart / "noise").rename(learnt_by_heart / "away")
    yield tmp_path / "here"
    (learnt_by_heart / "away").rename(learnt_by_heart / "noise")


def rename_all(folder):
    for number, path in enumerate(sorted(folder.rglob("*.png"), key=lambda path: path.read_bytes())):
        path.rename(path.with_name(f"new-{number:03d}.png"))


def test_renamed_images_are_known_again(copied):
    noise, run = copied / "noise", copied / "run"
    rename_all(noise)
    moved = evaluate(run, noise)
    assert moved.trained_on == 72
    assert moved.result.count == 90
    assert any("72 of the 90" in text for text in moved.warnings)
    assert moved.to_dict()["trained_on"] == 72


def test_eval_of_a_run_measures_what_validated_whatever_it_is_called_now(tmp_path):
    noise = write_noise(tmp_path / "noise")
    run = tmp_path / "run"
    result = train(recipe_of(noise), output=run, device="cpu")
    rename_all(noise)
    report = evaluate(run)
    assert (report.result.count, report.trained_on) == (18, 0)
    assert report.result.top1 == result.best.top1
    assert not report.warnings
    # Deleted, and no others took their places.
    validated = set(load_checkpoint(run / "best.pt").images["val"].tolist())
    from imgcls.datasets.fingerprints import fingerprint

    for path in noise.rglob("*.png"):
        if fingerprint(path.read_bytes()) in validated:
            path.unlink()
    with pytest.raises(DataError, match="holds no image that training kept for validation"):
        evaluate(run)
    everything = evaluate(run, split="train")
    assert everything.trained_on == everything.result.count == 72
    assert any("all 72" in text for text in everything.warnings)


@pytest.mark.parametrize("how", ["another seed", "other names", "another fraction"])
def test_what_a_run_begins_with_keeps_its_split(copied, tmp_path, how):
    noise, run = copied / "noise", copied / "run"
    if how == "other names":
        rename_all(noise)
    settings = ["data.val_fraction=0.4"] if how == "another fraction" else []
    flags = {"model.name": str(run), **({"train.seed": 5} if how == "another seed" else {})}
    events = []
    recipe = load_recipe(assignments=["train.epochs=1", *settings], flags={"data.source": str(noise), **flags})
    train(recipe, output=tmp_path / "next", device="cpu", on_event=events.append)
    first, second = (load_checkpoint(path / "best.pt").images for path in (run, tmp_path / "next"))
    assert torch.equal(first["val"].sort().values, second["val"].sort().values)
    assert torch.equal(first["train"].sort().values, second["earlier"])
    (started,) = [event for event in events if isinstance(event, Started)]
    assert not [text for text in started.warnings if "images" in text and "weights" in text]
    # A run cut and gone on keeps it too.
    train(resume=tmp_path / "next", device="cpu")
    assert evaluate(tmp_path / "next").trained_on == 0


def test_a_split_that_cannot_be_kept_is_said(copied, tmp_path):
    split = tmp_path / "split"
    for number, path in enumerate(sorted((copied / "noise").rglob("*.png"))):
        target = split / ("val" if number % 5 == 0 else "train") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    events = []
    recipe = load_recipe(
        assignments=["train.epochs=1"], flags={"data.source": str(split), "model.name": str(copied / "run")}
    )
    train(recipe, output=tmp_path / "next", device="cpu", on_event=events.append)
    (started,) = [event for event in events if isinstance(event, Started)]
    assert any("validation images are among those behind its first weights" in text for text in started.warnings)
    assert evaluate(tmp_path / "next").trained_on > 0


def touch_all(folder):
    for path in folder.rglob("*.png"):
        os.utime(path, (1e9, 1e9))


@pytest.mark.parametrize("how", ["touched", "copied"])
def test_a_run_goes_on_with_identical_images(tmp_path, how):
    noise, runs = write_noise(tmp_path / "noise", count=10), tmp_path / "runs"
    asked = iter(range(100))
    train(recipe_of(noise, "train.epochs=3"), output=runs / "whole", device="cpu")
    cut = train(
        recipe_of(noise, "train.epochs=3"), output=runs / "cut", device="cpu",
        should_stop=lambda: "SIGINT" if next(asked) == 3 else None,
    )  # fmt: skip
    assert cut.stopped == "SIGINT"
    if how == "touched":
        touch_all(noise)
        train(resume=runs / "cut", device="cpu")
    else:
        shutil.copytree(noise, tmp_path / "copy", copy_function=shutil.copyfile)
        train(recipe_of(tmp_path / "copy", "train.epochs=3"), resume=runs / "cut", device="cpu")
    first, second = (load_checkpoint(runs / name / "last.pt").weights for name in ("whole", "cut"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_other_images_are_refused_as_before(tmp_path):
    noise = write_noise(tmp_path / "noise", count=10)
    asked = iter(range(100))
    train(
        recipe_of(noise, "train.epochs=3"), output=tmp_path / "cut", device="cpu",
        should_stop=lambda: "SIGINT" if next(asked) == 3 else None,
    )  # fmt: skip
    shutil.rmtree(noise)
    write_noise(noise, seed=1, count=10)
    with pytest.raises(DataError, match="training images are not those"):
        train(resume=tmp_path / "cut", device="cpu")


def test_a_study_goes_on_with_touched_images(tmp_path):
    pytest.importorskip("optuna")
    noise = write_noise(tmp_path / "noise", count=10)
    space = tmp_path / "space.toml"
    space.write_text("optim.lr = { low = 0.001, high = 0.01, log = true }\n")
    study = tmp_path / "study"
    tune(
        load_recipe(
            assignments=["data.image_px=8", "train.epochs=1"],
            flags={"data.source": str(noise), "model.name": "mlp"},
            resolve=False,
        ),
        space,
        output=study,
        num_trials=1,
    )
    touch_all(noise)
    assert len(tune(resume=study, num_trials=2).trials) == 2


def test_a_run_started_elsewhere_finds_its_images(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    write_noise(home / "noise", count=10)
    monkeypatch.chdir(home)
    asked = iter(range(100))
    train(
        recipe_of("noise", "train.epochs=3"), output=home / "runs/cut", device="cpu",
        should_stop=lambda: "SIGINT" if next(asked) == 3 else None,
    )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert evaluate(home / "runs/cut").result.count == 6
    assert train(resume=home / "runs/cut", device="cpu").epochs == 3
    # Earlier versions stored the path as it was typed.
    config = home / "runs/cut/config.toml"
    config.write_text(config.read_text().replace(str(home / "noise"), "noise"))
    train(recipe=None, resume=home / "runs/cut", device="cpu")
