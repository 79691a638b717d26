"""Run folders written by version 0.1 before its checkpoints knew their images: they load, go on and are measured.

Made by that version on `write_pets`, in a folder with the images under the relative name `pets`; two runs were cut
within their second epoch, the third is complete.
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from imgcls.evaluation.run import evaluate
from imgcls.models.checkpoint import load_checkpoint
from imgcls.models.loading import load_model
from imgcls.recipes.loading import load_recipe
from imgcls.runs.comparison import compare_runs
from imgcls.runs.events import Started
from imgcls.training.run import train

RUNS = Path(__file__).parent / "earlier_runs"
# Training losses of the three epochs, as that version had them in one go and resumed.
LOSSES = {
    "mlp-cut": [0.9011519948641459, 0.7566880186398824, 0.6954993406931559],
    "cnn-cut": [1.0931947628657024, 1.0941198666890461, 1.0867305199305217],
}


def write_pets(folder):
    """Bitmaps, whose sizes are the same everywhere, with the times that the runs remember."""
    generator = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 90, (8, 8, 3), dtype=np.uint8)
            pixels[..., channel] += 150
            path = folder / name / f"{number}.bmp"
            Image.fromarray(pixels).save(path)
            os.utime(path, (1_700_000_000, 1_700_000_000))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder that the runs began in; the tests work elsewhere."""
    write_pets(tmp_path / "home/pets")
    shutil.copytree(RUNS, tmp_path / "home/runs")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


@pytest.mark.parametrize("name", LOSSES)
def test_a_cut_run_goes_on_as_it_would_have(home, name):
    run = home / "runs" / name
    result = train(resume=run, device="cpu")
    assert (result.epochs, result.stopped) == (3, None)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    # Another processor may compute other last digits.
    assert [row["train_loss"] for row in rows] == pytest.approx(LOSSES[name], rel=1e-4)
    assert load_checkpoint(run / "best.pt").images["train"].shape == (24,)
    assert evaluate(run).trained_on == 0


@pytest.mark.parametrize("name", ["mlp-cut", "cnn-cut", "mlp-done"])
def test_it_is_loaded_and_measured(home, name):
    run = home / "runs" / name
    stored = load_checkpoint(run / "best.pt")
    assert load_model(str(run)).classes == ("blue", "green", "red")
    report = evaluate(run)
    assert (report.result.count, report.trained_on) == (6, None)
    assert report.result.top1 == stored.metrics["top1"]
    assert report.result.loss == pytest.approx(stored.metrics["loss"], rel=1e-4)
    assert not report.warnings


def test_that_its_images_have_changed_is_said(home):
    for path in (home / "pets").rglob("*.bmp"):
        path.rename(path.with_name(f"new-{path.name}"))
    (text,) = evaluate(home / "runs/mlp-done").warnings
    assert "have changed since mlp was trained" in text


def test_a_next_run_begins_with_it_and_says_what_nobody_knows(home, tmp_path):
    events = []
    recipe = load_recipe(
        flags={"model.name": str(home / "runs/mlp-done"), "data.source": str(home / "pets"), "train.epochs": 1}
    )
    train(recipe, output=tmp_path / "next", device="cpu", on_event=events.append)
    (started,) = [event for event in events if isinstance(event, Started)]
    assert any("doesn't say which images it was trained on" in text for text in started.warnings)
    assert torch.equal(load_checkpoint(tmp_path / "next/best.pt").images["earlier"], torch.zeros(0, dtype=torch.int64))


def test_runs_are_compared(home):
    runs = compare_runs([home / "runs" / name for name in ("mlp-cut", "cnn-cut", "mlp-done")]).runs
    assert {run.path.name: run.epochs for run in runs} == {"mlp-cut": 1, "cnn-cut": 1, "mlp-done": 3}
