import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.cli.max_time import parse_duration
from imgcls.cli.train.lines import clock
from imgcls.errors import UsageError
from imgcls.models.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
TINY = (
    "--set",
    "model.arguments.widths=[4, 4, 8, 8]",
    "--set",
    "data.image_px=8",
    "--batch-size",
    "8",
    "--epochs",
    "2",
)
# The real command in a real process, which sends itself a real signal before a given step, so that no test has to wait
# for the right moment.
SIGNALLING = """
import os, signal, sys
from imgcls.training.loop import Loop
original = Loop.train_on
def step(self, *arguments):
    if self.position.step == int(os.environ["SIGNAL_STEP"]):
        for _ in range(int(os.environ["SIGNAL_COUNT"])):
            os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL_NAME"]))
    return original(self, *arguments)
Loop.train_on = step
from imgcls.cli.app import main
main()
"""


@pytest.fixture
def imgcls(tmp_path, monkeypatch):
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["train", *map(str, arguments)])


def run_signalled(photos, run, *, name, step, count=1, arguments=TINY):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "SIGNAL_NAME": name,
        "SIGNAL_STEP": str(step),
        "SIGNAL_COUNT": str(count),
    }
    command = [sys.executable, "-c", SIGNALLING, "train", "--data", str(photos), "-o", str(run), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_run_for_people(imgcls, photos):
    result = imgcls("--data", photos, *TINY)
    assert result.exit_code == 0
    (run,) = Path("runs").iterdir()
    assert run.name.startswith("cnn-")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["run", str(run)]
    assert f"imgcls eval {run}" in result.stdout
    assert f"imgcls predict -m {run} image.jpg" in result.stdout
    told = result.stderr.splitlines()
    assert "24 training images, 6 validation images" in told[0]
    assert [line.split("   ")[0] for line in told[2:]] == ["epoch 1/2", "epoch 2/2"]


def test_a_run_for_programs(imgcls, photos):
    result = imgcls("--data", photos, *TINY, "-o", "mine", "-f", "json", "-q", "--seed", 3)
    assert result.exit_code == 0
    assert result.stderr == ""
    answer = json.loads(result.stdout)
    assert answer == json.loads(Path("mine/result.json").read_text())
    assert (answer["schema"], answer["run"], answer["epochs"], answer["seed"]) == (1, "mine", 2, 3)
    wanted = {
        "schema",
        "run",
        "best",
        "last",
        "epochs",
        "train_sec",
        "images_per_sec",
        "skipped_images",
        "device",
        "seed",
    }
    assert wanted <= set(answer)
    assert set(answer["best"]) == {"epoch", "top1", "loss"}


def test_curves_are_drawn_at_the_end_and_when_the_run_is_cut(imgcls, photos, monkeypatch):
    assert imgcls("--data", photos, *TINY, "-o", "run", "--epochs", 3, "--max-time", "0.001s").exit_code == 0
    # No epoch has ended yet.
    assert not Path("run/curves.png").exists()
    assert imgcls("--resume", "run").exit_code == 0
    drawn = Path("run/curves.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    Path("run/curves.png").unlink()
    Path("run/curves.png").mkdir()
    again = imgcls("--resume", "run", "-q")
    assert again.exit_code == 0
    assert "warning: curves.png was not drawn: can't write run/curves.png" in again.stderr
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    without = imgcls("--resume", "run")
    assert without.exit_code == 0
    assert without.stderr.splitlines()[-1] == "no curves.png: matplotlib is not installed (pip install 'imgcls[plots]')"
    assert imgcls("--resume", "run", "-q").stderr == ""


def test_tensorboard_on_request(imgcls, photos, monkeypatch):
    assert imgcls("--data", photos, *TINY, "-o", "run", "--tensorboard").exit_code == 0
    assert [path.name.split(".")[0] for path in Path("run/tensorboard").iterdir()] == ["events"]
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    refused = imgcls("--data", photos, *TINY, "-o", "other", "--tensorboard")
    assert refused.exit_code == 2
    assert "pip install 'imgcls[tensorboard]'" in refused.stderr
    assert not Path("other").exists()


def test_a_dry_run_says_what_the_run_would_take_and_keeps_nothing(imgcls, photos, monkeypatch):
    monkeypatch.setattr("imgcls.training.dry_run.step_clock.MIN_SEC", 0)
    result = imgcls("--data", photos, *TINY, "-o", "run", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = {line[:12].strip(): line[12:] for line in result.stdout.splitlines() if line[:12].strip()}
    assert list(answer)[:6] == ["network", "a step", "an epoch", "the run", "memory", "disk"]
    assert "24 training images, 6 validation images" in answer["network"]
    assert "8 images of 8 px: " in answer["a step"]
    assert "; 3 steps" in answer["an epoch"]
    assert answer["the run"].endswith(" for 2 epochs")
    assert not list(Path().iterdir())
    as_json = imgcls("--data", photos, *TINY, "--dry-run", "-f", "json", "-q")
    assert (as_json.exit_code, as_json.stderr) == (0, "")
    assert json.loads(as_json.stdout)["steps_per_epoch"] == 3
    for arguments, code in ((("--data", "nowhere"), 5), (("--data", photos, "--device", "cuda:99"), 7)):
        refused = imgcls(*arguments, *TINY, "--dry-run")
        assert (refused.exit_code, refused.stdout) == (code, "")
    assert imgcls("--data", photos, *TINY, "-o", "run").exit_code == 0
    assert imgcls("--data", photos, *TINY, "-o", "run", "--dry-run").exit_code == 8
    refused = imgcls("--resume", "run", "--dry-run")
    assert refused.exit_code == 2
    assert f"imgcls train -c {Path('run/config.toml')} --dry-run" in refused.stderr


def test_the_folder_is_named_after_the_recipe(imgcls, photos):
    Path("tiny.toml").write_text("[train]\nepochs = 1\n[model]\narguments = {widths = [4, 4, 8, 8]}\n")
    result = imgcls("-c", "tiny.toml", "--data", photos, "--set", "data.image_px=8")
    assert result.exit_code == 0
    (run,) = Path("runs").iterdir()
    assert run.name.startswith("tiny-")


def test_print_config_is_toml_and_nothing_else(imgcls):
    result = imgcls("--print-config", "--lr", "0.3", "--model", "mlp", "--data", 'odd "name"')
    assert result.exit_code == 0
    assert result.stderr == ""
    values = tomllib.loads(result.stdout)
    assert values["optim"]["lr"] == 0.3
    assert values["data"]["source"] == 'odd "name"'
    assert values["model"] == {
        "name": "mlp", "pretrained": False, "weights": "", "labels": "", "ema": False, "arguments": {"image_px": 64},
    }  # fmt: skip
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set", "optim.lrr=1"], 3, "did you mean 'optim.lr'?"),
        (["--lr", "-1"], 3, "optim.lr = -1.0 in the command line must be more than 0 and at most 100"),
        (["--set", "epochs=1"], 3, "--set takes section.key=value"),
        (["-c", "missing.toml"], 3, "can't read the recipe missing.toml"),
        (["-c", "broken.toml"], 3, "broken.toml is not valid TOML"),
        ([], 2, "no data set given"),
        (["--data", "nowhere"], 5, "nowhere"),
        (["--data", "PHOTOS", "--model", "resnet19"], 6, "unknown model 'resnet19'"),
        (["--data", "PHOTOS", "--device", "cuda:99"], 7, "cuda:99"),
        (["--data", "PHOTOS", "--device", "toaster"], 2, "toaster"),
        (["--data", "PHOTOS", "-o", "full"], 8, "full is not empty"),
        (["--resume", "nowhere"], 2, "not the folder of a run"),
        (["--set", "model.arguments.width=1", "--data", "PHOTOS"], 6, "can't build 'cnn'"),
    ],
)
def test_mistakes_have_a_message_a_hint_and_a_code(imgcls, photos, arguments, code, said):
    Path("broken.toml").write_text("[train\n")
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("")
    result = imgcls(*[photos if argument == "PHOTOS" else argument for argument in arguments])
    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
    assert "hint: " in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("runs").exists()


def test_damaged_images_are_named(imgcls, photos, tmp_path):
    data = tmp_path / "data"
    for path in photos.rglob("*.png"):
        copy = data / path.relative_to(photos)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for number in range(7):
        (data / "red" / f"torn-{number}.png").write_bytes(b"no image")
    result = imgcls("--data", data, *TINY, "-o", "run", "-f", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["skipped_images"] == 7
    assert "skipped " + str(data / "red" / "torn-0.png") in result.stderr
    assert "skipped 2 more" in result.stderr
    refused = imgcls("--data", data, *TINY, "-o", "strict", "--strict")
    assert refused.exit_code == 5
    assert refused.stdout == ""


def test_divergence_says_what_to_lower(imgcls, photos):
    wild = ("--model", "mlp", "--lr", 100, "--set", "optim.name=sgd", "--set", "data.image_px=8", "--epochs", 60)
    result = imgcls("--data", photos, *wild)
    assert result.exit_code == 5
    assert result.stdout == ""
    assert "lower the learning rate optim.lr = 100" in result.stderr


def test_resume_with_other_settings_is_refused(imgcls, photos):
    assert imgcls("--data", photos, *TINY, "-o", "run", "-q").exit_code == 0
    refused = imgcls("--resume", "run", "--epochs", "9")
    assert refused.exit_code == 3
    assert "train.epochs was 2, now 9" in refused.stderr
    assert refused.stdout == ""


@pytest.mark.skipif(os.name == "nt", reason="a process can't send itself these signals on Windows")
@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGKILL", -getattr(signal, "SIGKILL", 9))]
)
def test_a_signal_in_mid_epoch_loses_nothing(imgcls, photos, tmp_path, name, code):
    cut = run_signalled(photos, tmp_path / "cut", name=name, step=4)
    assert cut.returncode == code, cut.stderr
    assert cut.stdout == ""
    position = load_checkpoint(tmp_path / "cut/last.pt").resume["loop"]["position"]
    if name == "SIGKILL":
        assert (position["epoch"], position["batch"]) == (1, 0)
    else:
        # The step in hand was finished.
        assert (position["epoch"], position["batch"], position["step"]) == (1, 2, 5)
        assert f"go on with: imgcls train --resume {tmp_path / 'cut'}" in cut.stderr
        assert json.loads((tmp_path / "cut/result.json").read_text())["stopped"] == name
    resumed = imgcls("--resume", tmp_path / "cut", "-f", "json")
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["stopped"] is None
    assert imgcls("--data", photos, *TINY, "-o", tmp_path / "whole").exit_code == 0
    for file in ("best.pt", "last.pt"):
        expected, found = (load_checkpoint(tmp_path / run / file).weights for run in ("whole", "cut"))
        for key, value in expected.items():
            assert torch.equal(value, found[key]), (file, key)


# Kills itself at some moment of its steps, measurements and saves, counted and not timed.
DYING = """
import os, signal, sys
from imgcls.training.loop import Loop
original = Loop.train_on
moments = None
def pass_a_moment():
    global moments
    if moments is not None:
        moments += 1
        if moments == int(os.environ["DIES_AT"]):
            os.kill(os.getpid(), signal.SIGKILL)
def train_on(self, *arguments):
    global moments
    moments = moments or 0
    pass_a_moment()
    return original(self, *arguments)
Loop.train_on = train_on
# Every file that is opened, renamed or removed from the first step on is a moment too.
sys.addaudithook(lambda event, _: event in ("open", "os.rename", "os.remove") and pass_a_moment())
from imgcls.cli.app import main
main()
"""
LEVERS = (
    "optim.name=muon",
    "optim.grad_clip=1",
    "optim.class_weights=balanced",
    "augment.crop_scale=0.4",
    "augment.policy=trivialaugment",
    "augment.erasing=0.3",
    "augment.mixup=0.2",
    "augment.cutmix=1",
    "train.ema_decay=0.9",
    "train.accumulate=2",
    "train.patience=3",
)


@pytest.mark.skipif(os.name == "nt", reason="a process can't kill itself on Windows")
def test_killed_at_random_again_and_again_with_many_levers_on(imgcls, photos, tmp_path):
    settings = [part for lever in LEVERS for part in ("--set", lever)]
    arguments = ["--data", str(photos), *TINY, "--epochs", "6", *settings]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    codes = []
    for number in range(2):
        # The next one would find the first one's folder, be it without a checkpoint.
        how = ["-o", str(tmp_path / "cut"), *arguments] if number == 0 else ["--resume", str(tmp_path / "cut")]
        environment["DIES_AT"] = str(random.randint(1, 60))
        command = [sys.executable, "-c", DYING, "train", "-q", *how]
        codes.append(subprocess.run(command, env=environment, capture_output=True, check=False).returncode)
    assert set(codes) <= {-signal.SIGKILL, 0}
    said = f"died at moment {environment['DIES_AT']}, {codes}"
    assert imgcls("--resume", tmp_path / "cut", "-f", "json").exit_code == 0, said
    assert imgcls(*arguments, "-o", tmp_path / "whole").exit_code == 0
    for file in ("best.pt", "last.pt"):
        expected, found = (load_checkpoint(tmp_path / run / file) for run in ("whole", "cut"))
        assert expected.metrics == found.metrics, said
        for key, value in expected.weights.items():
            assert torch.equal(value, found.weights[key]), (file, key, said)


@pytest.mark.skipif(os.name == "nt", reason="a process can't send itself these signals on Windows")
def test_a_second_signal_stops_at_once(photos, tmp_path):
    cut = run_signalled(photos, tmp_path / "cut", name="SIGINT", step=4, count=2)
    assert cut.returncode == 130
    assert load_checkpoint(tmp_path / "cut/last.pt").resume["loop"]["position"]["batch"] == 0
    assert "Traceback" not in cut.stderr


def test_a_run_whose_time_is_up_ends_well_and_goes_on(imgcls, photos):
    for_people = imgcls("--data", photos, *TINY, "-o", "run", "--max-time", "0.001s")
    assert for_people.exit_code == 0
    assert for_people.stdout.splitlines()[-2:] == [
        "stopped   by --max-time; all is saved",
        "next      imgcls train --resume run",
    ]
    for_programs = imgcls("--resume", "run", "--max-time", "0.001", "-f", "json")
    assert for_programs.exit_code == 0
    assert json.loads(for_programs.stdout)["stopped"] == "max-time"
    assert "go on with: imgcls train --resume run" in for_programs.stderr
    done = imgcls("--resume", "run", "--max-time", "1h", "-f", "json")
    assert (done.exit_code, json.loads(done.stdout)["stopped"]) == (0, None)


def test_a_run_that_stopped_early_is_complete(imgcls, photos):
    settings = ("--set", "train.patience=1", "--lr", "1e-30", "--epochs", "9")
    result = imgcls("--data", photos, *TINY, *settings)
    assert result.exit_code == 0
    assert "stopped   early: no improvement since epoch 1" in result.stdout
    assert "imgcls eval" in result.stdout.splitlines()[-2]
    assert "go on with" not in result.stderr


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172_800), ("1H 5s", 3605)],
)
def test_a_length_of_time(text, seconds):
    assert parse_duration(text, option="--max-time") == seconds


@pytest.mark.parametrize("text", ["", "0", "-5", "soon", "30min", "1.2.3h", "5m1h", "h", "1e400"])
def test_no_length_of_time(text):
    with pytest.raises(UsageError, match="--max-time takes a length of time above 0"):
        parse_duration(text, option="--max-time")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3599.6, "1:00:00"), (7325, "2:02:05"), (180122, "2d 02:02:02")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text
