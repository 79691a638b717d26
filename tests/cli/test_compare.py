import json
from pathlib import Path

import pytest
from run_events import epoch_end
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.recipes.loading import load_recipe, recipe_text
from imgcls.runs.folder import RunFolder


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Run the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["compare", *map(str, arguments)])


def make(name, epochs, *settings, result=None, **changes):
    """A run's folder, as training leaves it."""
    recipe = load_recipe(assignments=settings, flags={"data.source": "cifar10", "train.epochs": 4})
    with RunFolder.create(Path(name), name="cnn") as folder:
        folder.write_config(recipe_text(recipe))
        for epoch in range(1, epochs + 1):
            folder.append_metrics(epoch_end(epoch, **changes).to_dict())
        if result is not None:
            folder.write_result(result)
    return name


def test_the_best_comes_first_and_the_differences_are_named(compare):
    make("runs/low", 4, "optim.lr=0.1", top1=0.25)
    make(
        "runs/high",
        4,
        "optim.lr=0.2",
        "model.arguments.widths=[4, 8, 8]",
        result={"test": {"top1": 0.625}, "stopped": None},
    )
    make("runs/new", 0, "optim.lr=0.2")
    result = compare("runs/low", "runs/high", "runs/new", "-f", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert answer["differ_in"] == ["optim.lr", "model.arguments.widths"]
    assert [run["run"] for run in answer["runs"]] == [str(Path(f"runs/{name}")) for name in ("high", "low", "new")]
    assert answer["runs"][0] == {
        "run": str(Path("runs/high")),
        "epochs": 4,
        "best": {"epoch": 4, "top1": 0.8, "loss": 0.625},
        "test_top1": 0.625,
        "train_sec": 8.0,
        "stopped": None,
        "ended": True,
        "settings": {"model.arguments.widths": [4, 8, 8], "optim.lr": 0.2},
    }
    # Of equal accuracies the lower loss counts, and then the earlier epoch.
    assert answer["runs"][1]["best"]["epoch"] == 4
    assert (answer["runs"][2]["best"], answer["runs"][2]["ended"]) == (None, False)
    table = compare("runs/low", "runs/high", "runs/new").stdout
    rows = {line.split()[1]: line.split()[1:] for line in table.splitlines() if " runs" in line}
    assert rows[str(Path("runs/high"))][1:7] == ["80.00%", "4/4", "0.6250", "62.50%", "0:08", "▁▅▇█"]
    assert rows[str(Path("runs/new"))][1:6] == ["-", "-", "-", "-", "0:00"]
    assert [line.split()[:3] for line in table.splitlines() if "optim.lr" in line] == [
        ["1", "optim.lr", "0.2"],
        ["2", "optim.lr", "0.1"],
        ["3", "optim.lr", "0.2"],
    ]
    assert 'the same in all: model.name "cnn"  data.source "cifar10"  train.epochs 4' in table
    assert "\x1b" not in table


def test_where_test_images_stand_in_the_last_epoch_counts(compare):
    make("a", 2, split="test", top1=0.5)
    answer = json.loads(compare("a", "-f", "json").stdout)
    assert (answer["runs"][0]["best"]["epoch"], answer["differ_in"]) == (2, [])


def test_curves_of_all_runs(compare):
    for name in ("a", "b"):
        make(name, 2)
    make("c", 0)
    result = compare("a", "b", "c", "--plot", "all.png")
    assert result.exit_code == 0
    assert Path("all.png").read_bytes().startswith(b"\x89PNG")
    assert "no epoch of c has ended yet" in result.stderr


def test_what_a_pattern_finds_beside_the_runs_is_passed_over(compare):
    make("a", 2)
    Path("notes.txt").write_text("lr 0.1 was too high")
    Path("plots").mkdir()
    result = compare("a", "notes.txt", "plots", "-f", "json")
    assert result.exit_code == 0
    assert [run["run"] for run in json.loads(result.stdout)["runs"]] == ["a"]
    for name in ("notes.txt", "plots"):
        assert f"{name} is not the folder of a run; passed over" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["plots"], 2, "plots is not the folder of a run"),
        (["a", "nowhere"], 2, "nowhere is not the folder of a run"),
        (["nowhere"], 2, "nowhere is not the folder of a run"),
        (["a", "--plot", "all.gif"], 2, "must end in .png, .svg, .pdf"),
        (["a", "--plot", "a/config.toml/x.png"], 8, "can't write"),
        (["broken"], 3, "not valid TOML"),
    ],
)
def test_mistakes(compare, arguments, code, said):
    make("a", 1)
    Path("plots").mkdir()
    Path("broken").mkdir()
    Path("broken/config.toml").write_text("[")
    result = compare(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
    assert "hint: " in result.stderr
