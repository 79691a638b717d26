"""`train` and `tune` killed at any of the renames with which files appear: typing the command again works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, so that PyTorch is imported only once"),
]

# Runs a command again and again, each time killed at the next rename; then types it once more, as its user would.
SCRIPT = """
import contextlib, gc, importlib, json, os, shutil, signal, sys
from pathlib import Path
from imgcls.cli.app import app
# All that a run imports, or each of them would again; the optimiser's first step takes seconds for it.
for module in (
    "imgcls.training.run", "imgcls.tuning.study", "imgcls.cli.train.command", "imgcls.cli.tune.command",
    "torch._dynamo", "optuna.storages._rdb.storage",
):
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(module)
gc.collect()
gc.freeze()

def run(argv, kill_at=0):
    if (child := os.fork()) == 0:
        number, real = 0, os.replace
        def replace(*args, **options):
            nonlocal number
            number += 1
            if number == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)
        os.replace = os.rename = replace
        os.dup2(os.open(f"said-{kill_at}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(1, 2)
        code = 1
        try:
            app(argv)
        except SystemExit as exc:
            code = exc.code
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

argv, output, saved = json.loads(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
answers = []
for kill_at in range(1, 100):
    shutil.rmtree(output, ignore_errors=True)
    killed = run(argv, kill_at)
    has_saved = (output / saved).exists()
    again = run(argv)
    said = Path("said-0").read_text()
    resumed = None
    if again == 8:
        resumed = run([argv[0], "--resume", str(output), "-q"])
    pieces = [str(path) for path in output.rglob("*.part")]
    answers.append((killed, has_saved, again, resumed, said, pieces))
    if killed != -signal.SIGKILL:
        break
print(json.dumps(answers))
"""

RECIPE = """
[model]
name = "cnn"
arguments = { widths = [4, 4, 8, 8] }
[data]
image_px = 8
[train]
epochs = 2
batch_size = 8
[augment]
translate_px = 1
"""


def killed_everywhere(folder: Path, argv: list[str], *, saved: str) -> list[list[object]]:
    command = [sys.executable, "-c", SCRIPT, json.dumps(argv), "out", saved]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return list(json.loads(run.stdout.splitlines()[-1]))


def assert_all_can_go_on(answers: list[list[object]], *, least: int) -> None:
    assert len(answers) > least
    for number, (killed, has_saved, again, resumed, said, pieces) in enumerate(answers, start=1):
        assert killed == (-9 if number < len(answers) else 0), number
        if not has_saved:
            # Nothing was saved yet: the same command simply begins again.
            assert again == 0, (number, said)
        elif again != 0:
            assert (again, resumed) == (8, 0), (number, said)
            assert "--resume out" in str(said)
        assert pieces == [], number


def test_train(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "small.toml").write_text(RECIPE)
    argv = ["train", "-c", "small.toml", "--data", str(photos), "-o", "out", "--device", "cpu", "-q"]
    assert_all_can_go_on(killed_everywhere(tmp_path, argv, saved="best.pt"), least=6)


def test_tune(tmp_path: Path, photos: Path) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "space.toml").write_text("[optim.lr]\nlow = 0.001\nhigh = 0.01\nlog = true\n")
    (tmp_path / "small.toml").write_text(RECIPE)
    argv = ["tune", "-c", "small.toml", "--data", str(photos), "--space", "space.toml", "-o", "out"]
    argv += ["--device", "cpu", "--trials", "2", "-q"]
    assert_all_can_go_on(killed_everywhere(tmp_path, argv, saved="study.db"), least=6)
