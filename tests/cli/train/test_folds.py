"""`imgcls train --folds`: a run per fold, each image validated once, mean and spread."""

import json
from pathlib import Path

import pytest
from labelled_data import write_classes
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.models.checkpoint import load_checkpoint


def run(*arguments: object):
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_each_image_validates_once_and_eval_finds_it_again(tmp_path: Path):
    data = write_classes(tmp_path / "data", {"cat": 6, "dog": 6})
    result = run(
        "train", "--data", data, "-m", "mlp", "--from-scratch", "--set", "data.image_px=8", "--epochs", 1, "-q",
        "--folds", 3, "-o", tmp_path / "runs", "-f", "json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    top1 = [fold["last"]["top1"] for fold in answer["folds"]]
    assert answer["last"]["mean"] == pytest.approx(sum(top1) / 3)
    assert answer["last"]["std"] == pytest.approx((sum((x - sum(top1) / 3) ** 2 for x in top1) / 2) ** 0.5)
    validated = []
    for number in (1, 2, 3):
        images = load_checkpoint(tmp_path / f"runs/fold-{number}/last.pt").images
        assert len(images["train"]) == 8
        validated += images["val"].tolist()
    assert len(set(validated)) == 12
    measured = json.loads(run("eval", tmp_path / "runs/fold-2", "-f", "json").stdout)
    assert (measured["count"], measured["trained_on"]) == (4, 0)


def test_resuming_folds_is_refused(tmp_path: Path):
    result = run("train", "--folds", 3, "--resume", tmp_path)
    assert result.exit_code == 2
    assert "contradict" in result.stderr
