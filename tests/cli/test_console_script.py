"""The command as users start it: the `imgcls` script of an installation, in a process that has imported nothing yet."""

import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from labelled_data import write_classes
from tiny_model import save_image

ROOT = Path(__file__).parents[2]
NAME = "imgcls.exe" if os.name == "nt" else "imgcls"


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The installed script; where these sources aren't installed, what its entry point says it does."""
    found = shutil.which(NAME, path=str(Path(sys.executable).parent))
    if found is not None:
        return [found]
    (entry,) = entry_points(group="console_scripts", name="imgcls") or [None]
    module, function = (entry.module, entry.attr) if entry is not None else ("imgcls.cli.app", "main")
    path = tmp_path_factory.mktemp("bin") / "imgcls.py"
    path.write_text(f"import sys\nfrom {module} import {function}\nsys.exit({function}())\n")
    return [sys.executable, str(path)]


@pytest.fixture
def run(script, tmp_path):
    def start(*arguments, **options):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [*script, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=300, **options
        )

    return start


def test_it_says_its_version_and_its_help(run):
    from imgcls import __version__

    version = run("--version")
    assert (version.returncode, version.stdout.split(), version.stderr) == (0, [b"imgcls", __version__.encode()], b"")
    assert b"predict" in run("--help").stdout
    wrong = run("predct")
    assert (wrong.returncode, wrong.stdout) == (2, b"")
    assert wrong.stderr.startswith(b"error: no such command 'predct'; did you mean 'predict'?")


def test_an_image_is_classified_from_a_file_and_from_a_pipe(run, tmp_path):
    path = save_image(tmp_path / "a.png")
    named = run("predict", "a.png", "-m", "cifar10-cnn", "-f", "jsonl")
    assert (named.returncode, named.stderr) == (0, b"")
    piped = run("predict", "-", "-m", "cifar10-cnn", "-f", "jsonl", input=path.read_bytes())
    first, second = json.loads(named.stdout), json.loads(piped.stdout)
    assert (first["input"], second["input"]) == ("a.png", "-")
    assert first["predictions"] == second["predictions"]


def test_train_eval_and_predict_in_a_row_as_the_readme_has_them(run, tmp_path):
    write_classes(tmp_path / "pets", {"cat": 12, "dog": 12})
    small = ("--set", "model.name=mlp", "--set", "model.arguments.hidden=[4]", "--set", "data.image_px=8")
    trained = run("train", "--data", "pets", *small, "--epochs", 1, "-o", "run", "-f", "json", "-q")
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["run"] == "run"
    measured = run("eval", "run", "-f", "json", "-q")
    assert measured.returncode == 0, measured.stderr
    assert json.loads(measured.stdout)["count"] > 0
    answered = run("predict", "pets", "-m", "run", "-f", "csv")
    assert answered.returncode == 0, answered.stderr
    assert len(answered.stdout.splitlines()) == 25


def test_errors_keep_their_codes_to_the_end_of_the_process(run, tmp_path):
    (tmp_path / "torn.png").write_bytes(save_image(tmp_path / "a.png").read_bytes()[:60])
    codes = {
        "torn": run("predict", "torn.png", "-m", "cifar10-cnn", "-q").returncode,
        "config": run("train", "-c", "cnnn").returncode,
        "data": run("train", "--data", "nowhere").returncode,
        "model": run("predict", "a.png", "-m", "no-such-model").returncode,
    }
    assert codes == {"torn": 4, "config": 3, "data": 5, "model": 6}


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_a_closed_pipe_and_a_signal(script, tmp_path):
    for number in range(30):
        save_image(tmp_path / "in" / f"{number}.png")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*script, "predict", "-m", "cifar10-cnn", "-f", "jsonl", "--files-from", "-"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"in/0.png\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["input"] == "in/0.png"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 143, said
    reads_one_line = ["sh", "-c", '"$@" | head -n 1', "sh", *script, "predict", "-m", "cifar10-cnn", "-f", "jsonl"]
    head = subprocess.run(
        [*reads_one_line, *["in"] * 50], cwd=tmp_path, env=environment, capture_output=True, check=False, timeout=300
    )
    assert (head.stdout.count(b"\n"), head.stderr) == (1, b"")
