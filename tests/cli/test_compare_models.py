"""`imgcls compare A B --data DIR`: counts that add up, whichever model knows the classes in which order."""

import json
from pathlib import Path

import pytest
import torch
from labelled_data import damage, write_classes
from typer.testing import CliRunner, Result

from imgcls.cli.app import app
from imgcls.images.transform import Transform
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, save_checkpoint

ARGUMENTS = {"hidden": [4], "image_px": 8}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def save(path: Path, classes: tuple[str, ...], seed: int) -> Path:
    torch.manual_seed(seed)
    weights = build_network("mlp", num_classes=len(classes), arguments=ARGUMENTS).state_dict()
    save_checkpoint(Checkpoint("mlp", ARGUMENTS, classes, Transform(8, 8), weights), path)
    return path


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_classes(tmp_path / "pets", {"cat": 7, "dog": 6, "owl": 5})


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """Two models, of which one has another order of the classes and one more."""
    return save(tmp_path / "a.pt", ("cat", "dog", "owl"), 0), save(tmp_path / "b.pt", ("emu", "owl", "dog", "cat"), 1)


def test_counts_add_up_and_are_those_of_eval(models: tuple[Path, Path], pets: Path, tmp_path: Path) -> None:
    torn = damage(pets / "cat" / "002.png")
    result = run(*models, "--data", pets, "-f", "json")
    assert result.exit_code == 0, result.stderr
    assert "1 images can't be read" in result.stderr
    found = json.loads(result.stdout)
    assert found["count"] == 17
    assert found["both"] + found["only_a"] + found["only_b"] + found["neither"] == 17
    right = {}
    for name, model in zip("ab", models, strict=True):
        answers = tmp_path / f"{name}.jsonl"
        evaluated = CliRunner().invoke(
            app, ["eval", str(model), "--data", str(pets), "-f", "json", "--errors", str(answers)]
        )
        assert found[name]["correct"] == json.loads(evaluated.stdout)["correct"]
        lines = [json.loads(line) for line in answers.read_text("utf-8").splitlines()]
        right[name] = {line["input"] for line in lines if line["correct"]}
    assert (found["only_a"], found["only_b"]) == (len(right["a"] - right["b"]), len(right["b"] - right["a"]))
    assert {each["input"] for each in found["differing"]} == right["a"] ^ right["b"]
    assert str(torn) not in {each["input"] for each in found["differing"]}
    assert found["difference"]["value"] == pytest.approx((len(right["b"]) - len(right["a"])) / 17)


def test_the_table_and_the_page(models: tuple[Path, Path], pets: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    result = run(*models, "--data", pets, "--html", page)
    assert result.exit_code == 0, result.stderr
    for words in ("A mlp@", "B mlp@", "only A", "only B", "McNemar's exact p = ", "95 % interval"):
        assert words in result.stdout
    assert max(map(len, result.stdout.splitlines()[1:])) <= 120
    text = page.read_text("utf-8")
    found = json.loads(run(*models, "--data", pets, "-f", "json").stdout)
    assert text.count('<li class="card">') == found["only_a"] + found["only_b"]
    assert text.count("data:image/jpeg;base64,") == found["only_a"] + found["only_b"]
    assert "default-src 'none'" in text
    assert "wrote" in result.stderr


def test_a_model_against_itself_differs_nowhere(models: tuple[Path, Path], pets: Path) -> None:
    found = json.loads(run(models[0], models[0], "--data", pets, "-f", "json").stdout)
    assert (found["only_a"], found["only_b"], found["mcnemar_p"], found["differing"]) == (0, 0, 1.0, [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.pt", "--data", "pets"], "two models, and 1 is named"),
        (["a.pt", "b.pt", "a.pt", "--data", "pets"], "two models, and 3 are named"),
        (["a.pt", "b.pt", "--data", "pets", "--plot", "x.png"], "--plot draws the curves"),
        (["a.pt", "b.pt", "--html", "x.html"], "go with --data"),
    ],
)
def test_mistakes(models, pets, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "hint: " in result.stderr
