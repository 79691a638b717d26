from pathlib import Path

import pytest

from imgcls.errors import ConfigError, ModelError
from imgcls.recipes.loading import load_recipe
from imgcls.tuning.space import Choices, FloatRange, IntRange, recipe_with
from imgcls.tuning.space_file import load_space

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def space_of(tmp_path, monkeypatch):
    """Load a space from its text, as space.toml in the current folder."""
    monkeypatch.chdir(tmp_path)

    def load(text, *assignments):
        Path("space.toml").write_text(text)
        recipe = load_recipe(assignments=["data.source=photos", *assignments], resolve=False)
        return load_space(Path("space.toml"), recipe)

    return load


def test_every_kind_of_range(space_of):
    space = space_of(
        """
        [optim]
        lr = { low = 1e-4, high = 0.1, log = true }
        beta2 = { low = 0.9, high = 0.99 }
        label_smoothing = { low = 0, high = 0.3, step = 0.1 }
        grad_clip = { low = 0, high = 2 }
        name = ["sgd", "adamw"]
        nesterov = [true, false]
        [train]
        batch_size = { low = 16, high = 256, log = true }
        ema_every = { low = 1, high = 5, step = 2 }
        resolution = [[], [[0.5, 24]]]
        [model.arguments]
        depth = { low = 1, high = 3 }
        widths = [[4, 4, 8, 8], [8, 8]]
        """
    )
    assert space.dimensions == {
        "optim.lr": FloatRange(1e-4, 0.1, log=True),
        "optim.beta2": FloatRange(0.9, 0.99),
        "optim.label_smoothing": FloatRange(0.0, 0.3, step=0.1),
        # Written in whole numbers, but the setting takes fractions.
        "optim.grad_clip": FloatRange(0.0, 2.0),
        "optim.name": Choices(("sgd", "adamw")),
        "optim.nesterov": Choices((True, False)),
        "train.batch_size": IntRange(16, 256, log=True),
        "train.ema_every": IntRange(1, 5, step=2),
        "train.resolution": Choices(([], [[0.5, 24]])),
        "model.arguments.depth": IntRange(1, 3),
        "model.arguments.widths": Choices(([4, 4, 8, 8], [8, 8])),
    }
    assert space.num_combinations is None


def test_how_many_combinations_there_are(space_of):
    space = space_of(
        "[optim]\nname = ['sgd', 'adamw']\nlabel_smoothing = {low = 0.0, high = 0.3, step = 0.1}\n"
        "[augment]\ntranslate_px = {low = 0, high = 4, step = 2}\n"
    )
    assert space.num_combinations == 2 * 4 * 3


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("[optim]\nlrr = {low = 1, high = 2}", ["unknown key 'optim.lrr' in space.toml", "did you mean 'optim.lr'?"]),
        ("[optm]\nlr = {low = 1, high = 2}", ["unknown key 'optm' in space.toml", "did you mean 'optim'?"]),
        ("[optim]\nlr = {low = 0.0, high = 1.0}", ["optim.lr = 0.0 in space.toml must be more than 0 and at most 100"]),
        ("[optim]\nlr = {low = 1, high = 101}", ["optim.lr = 101 in space.toml", "at most 100"]),
        ("[optim]\nname = ['sgd', 'sgdd']", ["optim.name = 'sgdd' in space.toml", "'sgd', 'adamw' or 'muon'"]),
        ("[train]\nepochs = {low = 1.5, high = 3.5}", ["train.epochs = 1.5 in space.toml", "integer"]),
        ("[train]\nepochs = {low = 1, high = 3, step = 0.5}", ["train.epochs = 1.5 in space.toml", "integer"]),
        ("[optim]\nlr = 0.1", ["optim.lr = 0.1 in space.toml is one value"]),
        ("lr = {low = 1, high = 2}", ["unknown key 'lr' in space.toml", "did you mean 'optim.lr'?"]),
        (
            "[optim]\nlr = {lo = 0.1, high = 1.0}",
            ["unknown word 'lo' in the range of optim.lr", "did you mean 'low'?"],
        ),
        ("[optim]\nlr = {min = 0.1, max = 1.0}", ["unknown word 'min' in the range of optim.lr in space.toml"]),
        ("[optim]\nlr = {low = 0.1}", ["the range of optim.lr in space.toml lacks high"]),
        ("[optim]\nlr = {}", ["lacks low and high"]),
        ("[optim]\nlr = {low = 1.0, high = 0.1}", ["goes from 1.0 to 0.1"]),
        ("[optim]\nlr = {low = 'a', high = 1}", ["a in the range of optim.lr in space.toml must be a number"]),
        ("[optim]\nlr = {low = nan, high = 1}", ["must be a number"]),
        ("[optim]\nlr = {low = true, high = 2}", ["true in the range of optim.lr"]),
        ("[optim]\nlr = {low = 0.1, high = 1, log = 1}", ["log = 1", "true or false"]),
        ("[optim]\ngrad_clip = {low = 0, high = 1, log = true}", ["low = 0", "more than 0 with log = true"]),
        ("[optim]\nlr = {low = 0.1, high = 1, log = true, step = 0.1}", ["both log and step"]),
        ("[optim]\nlr = {low = 0.1, high = 1, step = 2}", ["step = 2"]),
        ("[optim]\nlr = {low = 0.1, high = 1, step = 0.4}", ["0.1, 0.5, ... never meet 1"]),
        ("[optim]\nname = ['sgd']", ['optim.name = ["sgd"] in space.toml leaves no choice']),
        ("[optim]\nname = ['sgd', 'sgd']", ["optim.name in space.toml has sgd twice"]),
        ("[train]\nseed = {low = 0, high = 9}", ["train.seed in space.toml can't be searched", "luckiest"]),
        ("[data]\nval_fraction = {low = 0.1, high = 0.2}", ["data.val_fraction", "the same images"]),
        ("[optim]\n", ["space.toml has nothing to search"]),
        ("[optim\n", ["space.toml is not valid TOML"]),
    ],
)
def test_a_wrong_space_says_where_and_what(space_of, text, fragments):
    with pytest.raises(ConfigError) as caught:
        space_of(text)
    for fragment in fragments:
        assert fragment in caught.value.message
    assert caught.value.hint


def test_the_network_is_asked_about_its_arguments(space_of):
    with pytest.raises(ModelError, match=r"can't build 'cnn'.*width"):
        space_of("[model.arguments]\nwidth = [[4, 4], [8, 8]]")


def test_what_follows_from_other_settings_is_not_searched(space_of):
    with pytest.raises(ConfigError, match=r"model\.arguments\.image_px in space\.toml.*follows from other settings"):
        space_of("[model.arguments]\nimage_px = [16, 32]", "model.name=mlp")


def test_a_missing_space_is_named(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_space(tmp_path / "none.toml", load_recipe(resolve=False))


def test_the_recipes_own_values_are_found_if_all_lie_within(space_of):
    space = space_of("[optim]\nlr = {low = 1e-4, high = 0.1}\n[augment]\ntranslate_px = {low = 0, high = 4, step = 2}")
    assert space.values_in(load_recipe(resolve=False)) == {"optim.lr": 1e-3, "augment.translate_px": 0}
    assert space.values_in(load_recipe(assignments=["augment.translate_px=3"])) is None
    assert space.values_in(load_recipe(assignments=["optim.lr=0.5"])) is None
    sizes = space_of("[data]\nimage_px = [16, 64]\n[train]\nresolution = [[], [[0.5, 24]]]")
    assert sizes.values_in(load_recipe(resolve=False)) == {"data.image_px": 64, "train.resolution": []}


def test_what_follows_from_a_value_follows_from_the_one_that_is_tried():
    recipe = load_recipe(assignments=["model.name=mlp", "data.source=photos"], resolve=False)
    tried = recipe_with(recipe, {"data.image_px": 16}, origin="trial 0")
    assert (tried.data.resize_px, tried.model.arguments["image_px"]) == (16, 16)
    assert recipe.data.image_px is None


@pytest.mark.parametrize("path", sorted(set(CONFIGS.glob("*.toml")) - {CONFIGS / "space.toml"}), ids=lambda p: p.name)
def test_the_shipped_space_goes_with_the_shipped_recipes(path):
    recipe = load_recipe(path, resolve=False)
    space = load_space(CONFIGS / "space.toml", recipe)
    # Those that the space's header and the README name are their own first trial.
    assert path.name not in ("mlp.toml", "cnn.toml") or space.values_in(recipe) is not None
