"""Several processes for real: forked, joined by the variables that torchrun sets, and killed; and torchrun itself."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from labelled_data import damage, write_classes
from tiny_runs import assert_same_metrics, assert_same_weights

from imgcls.models.checkpoint import load_checkpoint

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="torch's Windows packages have no gloo that torchrun can use")
# Uneven on purpose: 24 images in batches of 9, 9 and 6, of which two processes take 5 and 4, 5 and 4, 3 and 3.
COMMON = ("--set", "data.image_px=8", "--batch-size", "9", "--set", "train.precision=fp32")
CNN = (*COMMON, "--set", "model.arguments.widths=[4, 4, 8, 8]", "--set", "train.ema_decay=0.9")
# Without batch norm, whose figures are each process's own.
MLP = (*COMMON, "-m", "mlp", "--set", "model.arguments.hidden=[16]", "--set", "train.channels_last=false")
CHANGES = ("--set", "augment.translate_px=2", "--set", "augment.cutout_px=2", "--set", "augment.flip=alternate")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(imgcls, *args, count=2, cwds=None):
    """The same command in several processes, which find each other."""
    port = str(free_port())
    variables = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    return [
        imgcls.start(
            *args,
            cwd=cwds[rank] if cwds else None,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            MASTER_PORT=port,
            **variables,
        )
        for rank in range(count)
    ]


def together(imgcls, *args, **options):
    return [running.wait() for running in start(imgcls, *args, **options)]


def wait_for_lines(path, count):
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, f"{path} never got {count} lines"
        time.sleep(0.01)


def assert_close_weights(first, second):
    expected, found = (load_checkpoint(run / "last.pt").weights for run in (first, second))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6, msg=key)


@pytest.fixture(scope="module")
def whole(imgcls, photos, tmp_path_factory):
    """A run of two processes that nothing disturbed, and its command."""
    run, command = tmp_path_factory.mktemp("whole") / "run", ("train", "--data", photos, *CNN, *CHANGES, "--epochs", 6)
    assert [process.code for process in together(imgcls, *command, "-o", run)] == [0, 0]
    return run, command


@pytest.mark.parametrize(
    "settings",
    [
        (*CHANGES, "--set", "optim.grad_clip=0.5", "--set", "train.ema_decay=0.9"),
        pytest.param(
            ("--set", "optim.name=sgd", "--set", "train.accumulate=2", "--set", "optim.class_weights=balanced"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_make_the_steps_of_one(imgcls, photos, tmp_path, settings):
    command = ("train", "--data", photos, *MLP, *settings, "--epochs", 3, "-f", "json")
    alone = imgcls(*command, "-o", tmp_path / "alone")
    first, second = together(imgcls, *command, "-o", tmp_path / "both")
    assert (alone.code, first.code, second.code) == (0, 0, 0), first.stderr + second.stderr
    assert_close_weights(tmp_path / "alone", tmp_path / "both")
    expected, answer = json.loads(alone.stdout), json.loads(first.stdout)
    assert (expected["processes"], answer["processes"]) == (1, 2)
    assert answer["best"]["top1"] == expected["best"]["top1"]
    assert answer["best"]["loss"] == pytest.approx(expected["best"]["loss"], rel=1e-5)
    # One of them speaks and writes.
    assert (second.stdout, second.stderr) == (b"", "")
    assert "2 processes share every batch" in first.stderr
    rows, others = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("alone", "both")
    )
    for row, other in zip(rows, others, strict=True):
        assert row["step"] == other["step"]
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)


def test_told_to_stop_all_stop_and_go_on_to_the_same_weights(imgcls, whole, tmp_path):
    undisturbed, command = whole
    cut = tmp_path / "cut"
    running = start(imgcls, *command, "-o", cut)
    wait_for_lines(cut / "metrics.jsonl", 2)
    # Only one of them hears it.
    running[1].kill(signal.SIGTERM)
    first, second = (process.wait() for process in running)
    assert (first.code, second.code) == (143, 143), first.stderr + second.stderr
    assert f"go on with: torchrun ... -m imgcls train --resume {cut}" in first.stderr
    assert json.loads((cut / "result.json").read_text())["stopped"] == "SIGTERM"
    first, second = together(imgcls, "train", "--resume", cut)
    assert (first.code, second.code) == (0, 0)
    assert_same_weights(undisturbed, cut)
    assert_same_metrics(undisturbed, cut)


@pytest.mark.parametrize("killed", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_killed_process_ends_the_run_with_a_word_and_what_was_saved(imgcls, photos, tmp_path, killed):
    run = tmp_path / "run"
    running = start(imgcls, "train", "--data", photos, *CNN, "--epochs", 2000, "-o", run)
    wait_for_lines(run / "metrics.jsonl", 2)
    running[killed].kill(signal.SIGKILL)
    assert running[killed].wait().code == -signal.SIGKILL
    other = running[1 - killed]
    assert other.has_ended(60)
    left = other.wait()
    assert left.code == 7
    (error, hint) = [
        line for line in left.stderr.splitlines() if not line.startswith(("epoch", "cnn:", "on cpu", "2 "))
    ]
    assert error.startswith("error: one of the run's 2 processes is gone")
    assert f"--resume {run}" in hint
    if killed == 1:
        assert "last.pt holds it up to epoch" in error
    assert imgcls("eval", run, "-f", "json").code == 0
    # A single process may take it up.
    assert imgcls("train", "--resume", run, "--max-time", "1s").code == 0


def test_an_evaluation_is_shared_and_counts_every_image_once(imgcls, photos, tmp_path):
    run = tmp_path / "run"
    assert imgcls("train", "--data", photos, *CNN, "--epochs", 1, "-o", run, "-q").code == 0
    data = write_classes(tmp_path / "data", {"red": 7, "green": 5, "blue": 3})
    damage(data / "red" / "003.png")
    command = ("eval", run, "--data", data, "-f", "json")
    alone = imgcls(*command)
    first, second = together(
        imgcls, *command, "-o", tmp_path / "answer.json", "--confusion", tmp_path / "confusion.csv"
    )
    assert (alone.code, first.code, second.code) == (4, 4, 4), first.stderr + second.stderr
    assert (first.stdout, second.stdout, second.stderr) == (b"", b"", "")
    expected, answer = json.loads(alone.stdout), json.loads((tmp_path / "answer.json").read_text())
    assert answer.pop("loss") == pytest.approx(expected.pop("loss"), rel=1e-6)
    assert answer == expected
    assert answer["count"] == 14
    assert answer["skipped_images"] == 1
    assert (tmp_path / "confusion.csv").is_file()


def test_a_mistake_that_one_makes_is_told_by_that_one(imgcls, photos, tmp_path):
    # Only the first one looks at the run's folder.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("a year's work")
    first, second = together(imgcls, "train", "--data", photos, *CNN, "-o", tmp_path / "mine")
    assert (first.code, second.code) == (8, 7)
    assert "is not empty" in first.stderr


def test_what_several_processes_cannot_share_is_refused(imgcls, photos):
    second = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    predicted = imgcls("predict", "-m", "cifar10-cnn", photos, **second)
    assert predicted.code == 2
    assert "imgcls predict runs in one process, but torchrun started 2" in predicted.stderr
    assert "--shard 2/2" in predicted.stderr


def test_another_machine_with_other_images_is_noticed(imgcls, tmp_path):
    machines = [tmp_path / "here", tmp_path / "there"]
    for machine, count in zip(machines, (6, 5), strict=True):
        write_classes(machine / "data", {"cat": 6, "dog": count})
    runs = together(imgcls, "train", "--data", "data", *CNN, cwds=machines)
    assert {run.code for run in runs} == {5}
    for run in runs:
        assert "has other images than" in run.stderr
        assert "every machine needs the same data set" in run.stderr


# The real command under the real torchrun; one of the processes kills itself before a given step, in the first attempt.
KILLING = """
import os, signal
from imgcls.training.loop import Loop
original = Loop.train_on
def step(self, *arguments):
    if (self.position.step, os.environ["RANK"]) == (int(os.environ["KILL_STEP"]), os.environ["KILL_RANK"]):
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *arguments)
Loop.train_on = step
from imgcls.cli.app import main
main()
"""


def torchrun(script, *args, cwd, options=(), **variables):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        [*command, script, *map(str, args)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("killed", "options", "save_every_min"),
    [
        # Saved after every second step, so that it goes on within an epoch.
        ("1", ("--master-port", "PORT"), 1e-9),
        # The one that writes; found again without a name, through another rendezvous.
        pytest.param("0", ("--standalone",), 0, marks=pytest.mark.slow),
    ],
)
def test_torchrun_starts_a_killed_run_again_and_it_goes_on(whole, tmp_path, killed, options, save_every_min):
    undisturbed, command = whole
    (tmp_path / "killing.py").write_text(KILLING)
    options = [str(free_port()) if option == "PORT" else option for option in options]
    ended = torchrun(
        "killing.py",
        *command,
        "--set",
        f"train.save_every_min={save_every_min:.9f}",
        cwd=tmp_path,
        options=("--max-restarts", "2", *options),
        KILL_STEP="5",
        KILL_RANK=killed,
    )
    assert ended.returncode == 0, ended.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert f"continues after epoch 1, step {2 if save_every_min else 0} of the next" in ended.stderr
    assert ended.stdout.startswith("run ")
    assert_same_weights(undisturbed, run)
    assert_same_metrics(undisturbed, run)


@pytest.mark.slow
def test_a_head_first_and_then_all_is_shared_too(imgcls, photos, tmp_path):
    trained = tmp_path / "trained"
    assert imgcls("train", "--data", photos, *MLP, "--epochs", 1, "-o", trained, "-q").code == 0
    # Flipped at random, so that two views of each image are kept while the backbone is frozen.
    settings = ("--set", "finetune.head_epochs=2", "--set", "finetune.body_lr_factor=0.5", "--epochs", 4)
    command = ("train", "--data", photos, "-m", trained, *COMMON, "--set", "train.channels_last=false", *settings)
    assert imgcls(*command, "-o", tmp_path / "alone").code == 0
    first, second = together(imgcls, *command, "-o", tmp_path / "both")
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert_close_weights(tmp_path / "alone", tmp_path / "both")


@pytest.mark.slow
def test_three_share_what_two_began(imgcls, photos, tmp_path):
    settings = ("--set", "augment.translate_px=2", "--set", "augment.flip=alternate", "--batch-size", 12)
    command = ("train", "--data", photos, *MLP, *settings, "--epochs", 12)
    assert imgcls(*command, "-o", tmp_path / "alone").code == 0
    cut = tmp_path / "cut"
    running = start(imgcls, *command, "-o", cut)
    wait_for_lines(cut / "metrics.jsonl", 2)
    running[0].kill(signal.SIGINT)
    assert {process.wait().code for process in running} == {130}
    runs = together(imgcls, "train", "--resume", cut, count=3)
    assert [run.code for run in runs] == [0, 0, 0], [run.stderr for run in runs]
    assert_close_weights(tmp_path / "alone", cut)


# Images that are decoded anew in every epoch, some of them damaged, as if memory were short.
STREAMED = """
import json, sys
from pathlib import Path
from imgcls.distributed.process_group import joined
from imgcls.datasets.opening import open_dataset
from imgcls.recipes.schema import transform_of
from imgcls.recipes.loading import load_recipe
from imgcls.recipes.resolving import resolve_recipe
from imgcls.training.run import train
recipe = resolve_recipe(load_recipe(Path(sys.argv[1])))
with joined("cpu") as processes:
    dataset = open_dataset(
        recipe.data.source, transform=transform_of(recipe), max_memory_mib=0, workers=1, val_fraction=0.2
    )
    result = train(recipe, output=Path(sys.argv[2]), dataset=dataset, processes=processes)
if processes.is_first:
    print(json.dumps(result.to_dict()))
"""


def run_streamed(folder, recipe, count):
    port, running = str(free_port()), []
    for rank in range(count):
        variables = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "streamed.py", str(recipe), str(folder)]
        running.append(
            subprocess.Popen(
                command, cwd=recipe.parent, env={**os.environ, **variables, **address}, stdout=subprocess.PIPE
            )
        )
    answers = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * count
    return json.loads(answers[0])


@pytest.mark.slow
def test_damaged_images_of_a_streamed_set_change_no_gradient(tmp_path):
    data = write_classes(tmp_path / "data", {"red": 16, "green": 15, "blue": 14})
    damaged = [damage(data / name) for name in ("red/001.png", "red/007.png", "green/002.png", "blue/005.png")]
    (tmp_path / "streamed.py").write_text(STREAMED)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        f'[data]\nsource = "{data}"\nimage_px = 8\n[train]\nepochs = 3\nbatch_size = 9\nprecision = "fp32"\n'
        'channels_last = false\n[model]\nname = "mlp"\narguments = {hidden = [16]}\n[augment]\ntranslate_px = 2\n'
    )
    alone = run_streamed(tmp_path / "alone", recipe, 1)
    both = run_streamed(tmp_path / "both", recipe, 2)
    assert_close_weights(tmp_path / "alone", tmp_path / "both")
    assert both["skipped_images"] == alone["skipped_images"] == len(damaged)
