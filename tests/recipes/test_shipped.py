"""Recipes by name: a path wins, a name leads to the package, and each header says the same kind of things."""

import re
from pathlib import Path

import pytest

from imgcls.errors import ConfigError
from imgcls.recipes.loading import load_recipe
from imgcls.recipes.shipped import FIGURES, read_shipped, recipe_path, shipped_names, shipped_recipes

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_file_of_configs_has_a_name():
    assert shipped_names() == sorted(path.stem for path in CONFIGS.glob("*.toml"))
    assert {recipe.kind for recipe in shipped_recipes() if recipe.name != "space"} == {"recipe"}
    assert read_shipped("space").kind == "space"


def test_a_name_means_the_shipped_recipe_in_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipe_path("cnn") == recipe_path(Path("cnn.toml")) == CONFIGS / "cnn.toml"
    assert load_recipe("cnn") == load_recipe(CONFIGS / "cnn.toml")
    # A folder of that name is no recipe.
    Path("cnn").mkdir()
    assert recipe_path("cnn") == CONFIGS / "cnn.toml"


@pytest.mark.parametrize("name", ["cnn", "cnn.toml"])
def test_a_file_wins_over_a_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).write_text("[train]\nepochs = 3\n")
    assert load_recipe(name).train.epochs == 3
    assert load_recipe(Path(name)).train.epochs == 3


@pytest.mark.parametrize(("given", "near"), [("cnnn", "cnn"), ("fine-tune", "finetune"), ("resnet-18", "resnet18")])
def test_an_unknown_name_suggests_the_nearest(tmp_path, monkeypatch, given, near):
    monkeypatch.chdir(tmp_path)
    for find in (load_recipe, read_shipped):
        with pytest.raises(ConfigError, match=f"did you mean '{near}'") as caught:
            find(given)
        assert given in caught.value.message
        assert "imgcls recipes" in caught.value.hint


def test_a_missing_path_is_told_as_a_path(tmp_path):
    with pytest.raises(ConfigError, match=r"can't read the recipe .*cnn: No such file"):
        load_recipe(tmp_path / "cnn")


@pytest.mark.parametrize("recipe", shipped_recipes(), ids=lambda recipe: recipe.name)
def test_a_header_has_one_regular_form(recipe):
    header = recipe.text.partition("\n[")[0].strip().splitlines()
    assert all(line.startswith("#") for line in header)
    assert len(header[0]) > 20
    assert recipe.title.endswith(".")
    if recipe.kind == "space":
        assert not recipe.figures
        return
    assert recipe.command.startswith(f"imgcls train -c {recipe.name} ")
    if recipe.figures["accuracy"].startswith("not measured yet: "):
        assert not {"seeds", "time"} & set(recipe.figures)
    else:
        assert re.match(r"\d+\.\d+ % \(\d+\.\d+ to \d+\.\d+\)", recipe.figures["accuracy"])
        assert re.fullmatch(r"\d+(, \d+)*", recipe.figures["seeds"])
        assert re.match(r"\d+(\.\d+)? s", recipe.figures["time"])
        assert set(recipe.figures) == set(FIGURES)
    scripts = re.findall(r"benchmarks/\w+\.py", recipe.figures["measured_by"])
    assert scripts
    assert all((CONFIGS.parent / script).is_file() for script in scripts)


def test_figures_go_on_in_indented_lines():
    found = read_shipped("cnn-wide")
    assert found.figures["accuracy"] == (
        "89.43 % (89.30 to 89.59) of the test images of re-encoded CIFAR-10, after the last epoch, one forward pass; "
        "in the same run the published speed record's recipe reached 89.75 % after 934 s"
    )
    assert found.figures["seeds"] == "0, 1, 2"
