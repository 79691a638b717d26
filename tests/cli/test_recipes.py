import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgcls.cli.app import app

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_the_list_names_every_recipe_with_its_figures(run):
    result = run("recipes")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    names = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    assert sorted(names) == sorted(path.stem for path in CONFIGS.glob("*.toml"))
    block = lines[lines.index(next(line for line in lines if line.startswith("cnn "))) :]
    assert block[1].strip() == "imgcls train -c cnn --data cifar10"
    assert block[2].strip().startswith("accuracy: 88.26 % (88.21 to 88.34)")
    assert "imgcls train -c NAME" in result.stderr
    assert run("recipes", "-q").stderr == ""


def test_one_is_printed_as_it_is_and_can_be_used(run):
    result = run("recipes", "cnn")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (CONFIGS / "cnn.toml").read_text(encoding="utf-8")
    Path("mine.toml").write_text(result.stdout, encoding="utf-8")
    by_path = run("train", "-c", "mine.toml", "--print-config")
    by_name = run("train", "-c", "cnn", "--print-config")
    assert (by_path.exit_code, by_path.stdout) == (0, by_name.stdout)


def test_json_has_the_figures_and_null_for_what_was_not_measured(run):
    listed = {each["name"]: each for each in json.loads(run("recipes", "-f", "json").stdout)["recipes"]}
    assert listed["cnn"]["seeds"] == "0, 1, 2"
    assert listed["resnet18"]["seeds"] is None
    assert "text" not in listed["cnn"]
    one = json.loads(run("recipes", "mlp", "-f", "json").stdout)
    assert one["schema"] == 1
    (mlp,) = one["recipes"]
    assert mlp["text"] == (CONFIGS / "mlp.toml").read_text(encoding="utf-8")
    assert mlp.items() >= listed["mlp"].items()


@pytest.mark.parametrize(
    "arguments",
    [("recipes", "cnnn"), ("train", "-c", "cnnn", "--print-config"), ("tune", "-c", "cnnn", "--space", "space")],
)
def test_an_unknown_name_is_3_and_suggests_the_nearest(run, arguments):
    pytest.importorskip("optuna")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "'cnnn'; did you mean 'cnn'?" in result.stderr
    assert "hint: imgcls recipes" in result.stderr
