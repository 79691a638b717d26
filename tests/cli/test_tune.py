import importlib.util
import json
import os
import signal
import time
from pathlib import Path

import pytest
from labelled_data import write_classes
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.cli.tune.lines import summary_lines, trial_lines
from imgcls.tuning.results import StudyResult, TrialRecord

RECIPE = """
[model]
name = "mlp"
arguments = { hidden = [4] }
[data]
image_px = 8
[train]
batch_size = 8
epochs = 2
"""
SPACE = "[optim]\nlr = { low = 1e-4, high = 0.1, log = true }\n[model.arguments]\nhidden = [[4], [6]]\n"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_classes(tmp_path_factory.mktemp("data") / "photos", {"red": 12, "green": 12, "blue": 12})


@pytest.fixture
def tune(tmp_path, monkeypatch):
    """Run the command in this process, in a folder with a recipe and a space."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(RECIPE)
    Path("space.toml").write_text(SPACE)
    return lambda *arguments: CliRunner().invoke(app, ["tune", *map(str, arguments)])


def test_a_study_for_people(tune, photos):
    result = tune("-c", "tiny.toml", "--space", "space.toml", "--data", photos, "--trials", 2)
    assert result.exit_code == 0, result.stderr
    (study,) = Path("studies").iterdir()
    assert study.name.startswith("tiny-")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["study", str(study)]
    assert lines[1] == "trials  2 of 2 over: 2 complete"
    assert any(line.startswith("optim.lr ") for line in lines)
    assert f"next    imgcls train -c {study}/best.toml" in lines
    told = result.stderr.splitlines()
    assert told[:2] == [
        "2 settings to search in 2 trials",
        "trials below the median of the others are stopped early",
    ]
    assert told[3] == "30 training images, 6 validation images"
    assert told[4] == "trial 0 is the recipe as it stands"
    assert [line[:17] for line in told[5:]] == ["trial 0  complete", "trial 1  complete"]
    assert told[5].endswith("lr 0.001  hidden [4]")
    retrained = CliRunner().invoke(app, ["train", "-c", f"{study}/best.toml", "-o", "again", "-q"])
    assert retrained.exit_code == 0, retrained.stderr


def test_a_study_for_programs_that_goes_on(tune, photos):
    arguments = ("-c", "tiny.toml", "--space", "space.toml", "--data", photos, "--seed", 3, "-f", "json", "-q")
    first = tune(*arguments, "--trials", 1, "-o", "mine")
    assert (first.exit_code, first.stderr) == (0, "")
    answer = json.loads(first.stdout)
    assert answer == json.loads(Path("mine/result.json").read_text())
    assert (answer["schema"], answer["study"], answer["seed"], answer["stopped"]) == (1, "mine", 3, None)
    assert set(answer["best"]) >= {"trial", "state", "values", "top1", "loss", "epoch", "seconds", "run"}
    assert {"imgcls", "torch", "optuna"} <= set(answer["versions"])
    # The same command again goes on, if it says so.
    assert tune(*arguments, "-o", "mine").exit_code == 8
    again = tune(*arguments, "--trials", 2, "--resume", "mine")
    assert (again.exit_code, again.stderr) == (0, "")
    assert [trial["state"] for trial in json.loads(again.stdout)["trials"]] == ["complete", "complete"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--data", "PHOTOS"], 2, "no space to search"),
        (["--space", "missing.toml", "--data", "PHOTOS"], 3, "missing.toml"),
        (["--space", "space.toml"], 2, "no data set given"),
        (["--space", "space.toml", "--data", "nowhere"], 5, "nowhere"),
        (["--space", "wrong.toml", "--data", "PHOTOS"], 3, "unknown key 'optim.lrr' in wrong.toml"),
        (["--space", "space.toml", "--data", "PHOTOS", "--model", "mlpp"], 6, "unknown model 'mlpp'"),
        (["--space", "space.toml", "--data", "PHOTOS", "--device", "cuda:99"], 7, "cuda:99"),
        (
            ["--space", "space.toml", "--data", "PHOTOS", "--max-time", "soon"],
            2,
            "--max-time takes a length of time",
        ),
        (["--space", "space.toml", "--data", "PHOTOS", "-o", "full"], 8, "full is not empty"),
        (["--resume", "nowhere"], 2, "not the folder of a study"),
        (["--resume", "nowhere", "--epochs", "3"], 2, "not the folder of a study"),
    ],
)
def test_mistakes_have_a_message_a_hint_and_a_code(tune, photos, arguments, code, said):
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("")
    Path("wrong.toml").write_text("[optim]\nlrr = {low = 0.1, high = 1.0}\n")
    result = tune("--trials", 1, "-c", "tiny.toml", *[photos if part == "PHOTOS" else part for part in arguments])
    if "--resume" in arguments:
        result = tune(*arguments)
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert said in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("studies").exists()


def test_without_optuna_it_says_how_to_get_it(tune, photos, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "optuna" else real(name))
    result = tune("--space", "space.toml", "--data", photos)
    assert result.exit_code == 2
    assert "tuning needs optuna" in result.stderr
    assert "pip install 'imgcls[tune]'" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="a process can't be sent these signals on Windows")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_the_trial_in_hand_and_says_how_to_go_on(tune, imgcls, photos, tmp_path, number, code):
    arguments = ["tune", "-c", "tiny.toml", "--space", "space.toml", "--data", photos, "-o", "cut", "--epochs", 9999]
    command = imgcls.start(*arguments, "--trials", 2, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "cut/trials/0000/metrics.jsonl").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    command.kill(number)
    end = command.wait()
    assert end.code == code, end.stderr
    assert end.stdout == b""
    name = signal.Signals(number).name
    assert f"warning: stopped by {name} after 0 of 2 trials; all is saved in cut" in end.stderr
    assert "warning: go on with: imgcls tune --resume cut" in end.stderr
    stored = json.loads((tmp_path / "cut/result.json").read_text())
    assert (stored["stopped"], stored["counts"]) == (name, {"waiting": 1})
    # Nothing but a lock of the folder stays behind.
    assert not list((tmp_path / "cut/.trials").iterdir())


def test_a_trials_line_and_the_table_in_the_end():
    values = {"optim.lr": 0.0012345678, "optim.rest_lr": 0.1, "augment.flip": "off", "model.arguments.lr": True}
    best = TrialRecord(3, "complete", values, top1=0.5, loss=1.25, epoch=7, seconds=12.34)
    diverged = TrialRecord(12, "diverged", values, seconds=0.4, reason="the loss became nan at step 3")
    figures = "trial 12  diverged         -  epoch  -     0.4 s   best 50.00% (trial 3)"
    settings = "optim.lr 0.001235  rest_lr 0.1  flip off  model.arguments.lr true"
    reason = "the loss became nan at step 3"
    assert trial_lines(diverged, best, num_trials=20) == [f"{figures}   {settings}   {reason}"]
    assert trial_lines(diverged, best, num_trials=20, width=76) == [
        figures,
        "          optim.lr 0.001235  rest_lr 0.1  flip off  model.arguments.lr true",
        "          the loss became nan at step 3",
    ]
    assert trial_lines(diverged, best, num_trials=20, width=60)[1:3] == [
        "          optim.lr 0.001235  rest_lr 0.1  flip off",
        "          model.arguments.lr true",
    ]
    first = TrialRecord(0, "out_of_memory", values | {"optim.lr": 0.5})
    result = StudyResult(
        study=Path("studies/a b"),
        trials=(first, best),
        num_trials=20,
        best=best,
        best_recipe=Path("studies/a b/best.toml"),
        importance={"optim.lr": 0.9, "augment.flip": 0.1},
        val_fraction=None,
        pruner="median",
        seed=0,
        device="cpu",
        data={},
    )
    assert summary_lines(result) == [
        "study   studies/a b",
        "trials  2 of 20 over: 1 no memory, 1 complete",
        "best    trial 3: top-1 50.00%, loss 1.2500 (epoch 7)",
        "",
        "setting             best      trial 0  matters",
        "optim.lr            0.001235  0.5      90%",
        "optim.rest_lr       0.1       0.1",
        "augment.flip        off       off      10%",
        "model.arguments.lr  true      true",
        "",
        "recipe  studies/a b/best.toml",
        "next    imgcls train -c 'studies/a b/best.toml'",
    ]
