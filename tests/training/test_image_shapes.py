"""Images that are not square, through training, eval, predict and export with the one transform."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.errors import ConfigError
from imgcls.models.checkpoint import load_checkpoint
from imgcls.recipes.loading import load_recipe, recipe_text


@pytest.fixture(scope="module")
def signs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 96 x 48 whose classes differ in their left fifth only."""
    root = tmp_path_factory.mktemp("signs")
    random = np.random.default_rng(0)
    for split, count in (("train", 24), ("val", 12)):
        for label, value in (("bright", 230), ("dark", 20)):
            (root / split / label).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(60, 180, (48, 96, 3), dtype=np.uint8)
                pixels[:, :19] = value
                Image.fromarray(pixels).save(root / split / label / f"{index}.png")
    return root


def run(*arguments: object) -> dict:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("model", "settings", "size"),
    [
        ("mlp", ("data.image_px=16", "data.resize=pad", "data.pad_rgb=[114, 114, 114]"), (16, 16)),
        ("mlp", ("data.image_px=16", "data.resize=squash"), (16, 16)),
        ("cnn", ("data.image_px=[16, 32]", "model.arguments.widths=[8, 8]", "augment.crop_scale=0.9"), (16, 32)),
    ],
    ids=["pad", "squash", "not square"],
)
def test_what_the_crop_would_cut_off_is_learnt(
    signs: Path, tmp_path: Path, model: str, settings: tuple[str, ...], size: tuple[int, int]
) -> None:
    more = ("train.batch_size=8", "augment.flip=off", "optim.lr=0.01", "schedule.shape=constant", *settings)
    sets = [part for setting in more for part in ("--set", setting)]
    flags = ("--model", model, "--epochs", 12, "-o", tmp_path / "run", "-f", "json", "--device", "cpu")
    run("train", "--data", signs, *flags, *sets)
    assert load_checkpoint(tmp_path / "run" / "best.pt").transform.size_px == size
    assert run("eval", tmp_path / "run", "-f", "json", "--device", "cpu")["top1"] == 1.0
    answer = run("predict", signs / "val" / "dark", "-m", tmp_path / "run", "-f", "json", "--device", "cpu")
    assert {record["predictions"][0]["label"] for record in answer["results"]} == {"dark"}
    report = run("export", tmp_path / "run", "-o", tmp_path / "m.onnx", "-f", "json")
    assert report["model"]["transform"] == answer["model"]["transform"]
    again = run("predict", signs / "val" / "dark", "-m", tmp_path / "m.onnx", "-f", "json")
    for one, other in zip(again["results"], answer["results"], strict=True):
        assert one["predictions"][0]["probability"] == pytest.approx(other["predictions"][0]["probability"], abs=1e-4)


def test_height_and_width_are_one_key_of_the_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(assignments=["data.image_px=[48, 96]", "data.resize=pad"], flags={"model.name": "cnn"})
    assert (recipe.data.image_px, recipe.data.image_width_px, recipe.data.resize_px) == (48, 96, 48)
    (tmp_path / "saved.toml").write_text(recipe_text(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "saved.toml") == recipe
    assert load_recipe(assignments=["data.image_px=[48, 48]"]) == load_recipe(assignments=["data.image_px=48"])
    # What a recipe doesn't say is not in it, so that old runs are resumed with theirs.
    assert not {"resize", "image_width_px", "pad_rgb"} & set(load_recipe().to_dict()["data"])


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("data.image_px=[1, 2, 3]", r"one side, or \[height, width\]"),
        ("data.image_px=[48, 4]", "data.image_width_px = 4"),
        ("data.resize=stretch", "data.resize = 'stretch'"),
        ("data.pad_rgb=[0, 0, 300]", "data.pad_rgb"),
    ],
)
def test_sizes_that_mean_nothing_are_refused(assignment: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_recipe(assignments=[assignment])


def test_a_network_of_squares_says_how_to_show_it_the_whole_image() -> None:
    with pytest.raises(ConfigError, match="takes square images, not 48 x 96") as caught:
        load_recipe(assignments=["data.image_px=[48, 96]"], flags={"model.name": "mlp"})
    assert "data.resize=pad" in caught.value.hint
