"""One rule for files that exist already: what costs hours is refused, a report is replaced."""

import json
from pathlib import Path

import pytest
from labelled_data import write_classes
from run_events import epoch_end
from typer.testing import CliRunner, Result

from imgcls.cli.app import app
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, save_checkpoint
from imgcls.recipes.loading import load_recipe, recipe_text
from imgcls.runs.folder import RunFolder

ARGUMENTS = {"hidden": [4], "image_px": 8}
OLD = b"older"
MODEL = ("-m", "best.pt")
# The option that names the file comes last.
REFUSED = {
    "predict": ("predict", "data", *MODEL, "-f", "jsonl", "-o", "old.jsonl"),
    "predict html": ("predict", "data", *MODEL, "--html", "old.html"),
    "export": ("export", "best.pt", "-o", "old.pt"),
}
REPLACED = {
    "eval": ("eval", *MODEL, "--data", "data", "-o", "old.txt"),
    "eval confusion": ("eval", *MODEL, "--data", "data", "--confusion", "old.csv"),
}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = build_network("mlp", num_classes=2, arguments=ARGUMENTS).state_dict()
    save_checkpoint(Checkpoint("mlp", ARGUMENTS, ("cat", "dog"), Transform(8, 8), weights), Path("best.pt"))
    write_classes(Path("data"), {"cat": 1, "dog": 1})


def a_run(name: str) -> str:
    """The folder of a run of one epoch."""
    with RunFolder.create(Path(name), name="mlp") as folder:
        folder.write_config(recipe_text(load_recipe()))
        folder.append_metrics(epoch_end(1).to_dict())
    return name


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=REFUSED)
def test_what_costs_hours_is_refused_without_overwrite(arguments: tuple[str, ...]) -> None:
    path = Path(arguments[-1])
    path.write_bytes(OLD)
    refused = run(*arguments)
    assert (refused.exit_code, refused.stdout) == (8, "")
    assert "--overwrite" in refused.stderr
    assert path.read_bytes() == OLD
    assert run(*arguments, "--overwrite").exit_code == 0
    assert path.read_bytes() != OLD


@pytest.mark.parametrize("arguments", REPLACED.values(), ids=REPLACED)
def test_a_report_is_replaced(arguments: tuple[str, ...]) -> None:
    path = Path(arguments[-1])
    path.write_bytes(OLD)
    assert run(*arguments).exit_code == 0
    assert path.read_bytes() != OLD


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_curves_of_a_comparison_are_replaced(suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = Path(f"old.{suffix}")
    path.write_bytes(OLD)
    assert run("compare", a_run("one"), a_run("other"), "--plot", str(path)).exit_code == 0
    assert path.read_bytes() != OLD


@pytest.mark.slow
def test_a_report_on_the_machine_is_replaced() -> None:
    Path("old.json").write_bytes(OLD)
    assert run("env-check", "--device", "cpu", "-f", "json", "-o", "old.json").exit_code == 0
    assert json.loads(Path("old.json").read_bytes())["schema"] == 1


@pytest.mark.parametrize("command", ["train", "tune"])
def test_the_folder_of_a_run_or_study_is_never_overwritten(command: str) -> None:
    Path("run").mkdir()
    Path("run", "best.pt").write_bytes(OLD)
    Path("space.toml").write_text("[optim]\nlr = [0.1, 0.2]\n")
    searched = ("--space", "space.toml") if command == "tune" else ()
    refused = run(command, "--data", "data", "-o", "run", "--set", "model.name=mlp", *searched)
    assert (refused.exit_code, refused.stdout) == (8, "")
    assert Path("run", "best.pt").read_bytes() == OLD
