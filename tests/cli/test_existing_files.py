"""One rule for files that exist already: what costs hours is refused, a report is replaced."""

from pathlib import Path

import pytest
from labelled_data import write_classes
from typer.testing import CliRunner, Result

from imgcls.cli.app import app
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, save_checkpoint

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


def test_the_folder_of_a_run_is_never_overwritten() -> None:
    Path("run").mkdir()
    Path("run", "best.pt").write_bytes(OLD)
    refused = run("train", "--data", "data", "-o", "run", "--set", "model.name=mlp")
    assert (refused.exit_code, refused.stdout) == (8, "")
    assert Path("run", "best.pt").read_bytes() == OLD
