import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgcls.errors import ConfigError
from imgcls.images.transform import IMAGENET_MEAN
from imgcls.models.building import build_network
from imgcls.recipes.loading import check_recipe, differing_keys, load_recipe, recipe_text
from imgcls.recipes.resolving import CIFAR10_MEAN
from imgcls.recipes.schema import SECTIONS
from imgcls.recipes.wording import known_keys

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path for path in CONFIGS.glob("*.toml") if path.name != "space.toml")


@pytest.fixture
def recipe_file(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_later_sources_win(recipe_file):
    path = recipe_file("[train]\nepochs = 3\nseed = 5\nbatch_size = 7\n")
    recipe = load_recipe(
        path, assignments=["train.seed=6", "train.batch_size=8"], flags={"train.batch_size": 9, "optim.lr": None}
    )
    assert (recipe.train.epochs, recipe.train.seed, recipe.train.batch_size) == (3, 6, 9)
    assert recipe.optim.lr == load_recipe().optim.lr


@pytest.mark.parametrize(
    ("assignment", "section", "key", "value"),
    [
        ("optim.lr=1e-2", "optim", "lr", 0.01),
        ("optim.lr=1", "optim", "lr", 1.0),
        ("data.source=my images/x=1", "data", "source", "my images/x=1"),
        ('data.source="quoted"', "data", "source", "quoted"),
        ("model.arguments.hidden=[8, 8]", "model", "arguments", {"hidden": [8, 8]}),
        ("train.resolution=[[0.5, 24]]", "train", "resolution", ((0.5, 24),)),
    ],
)
def test_assignments_are_toml_or_else_text(assignment, section, key, value):
    assert getattr(getattr(load_recipe(assignments=[assignment]), section), key) == value


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("[optim]\nlrr = 1", ["unknown key 'optim.lrr'", "did you mean 'optim.lr'?", "mine.toml"]),
        ("[optim]\nlearning_rate = 1", ["unknown key 'optim.learning_rate'", "did you mean 'optim.lr'?"]),
        ("[optm]\nlr = 1", ["unknown key 'optm'", "did you mean 'optim'?"]),
        ("epochs = 1", ["unknown key 'epochs'", "did you mean 'train.epochs'?"]),
        ("[optim]\nepochs = 1", ["unknown key 'optim.epochs'", "did you mean 'train.epochs'?"]),
        ("[optim]\nlr = -0.5", ["optim.lr = -0.5", "mine.toml", "more than 0 and at most 100"]),
        ("[optim]\nlr = 'fast'", ["optim.lr = 'fast'", "number"]),
        ("[optim]\ngrad_clip = inf", ["optim.grad_clip = inf", "finite", "at least 0"]),
        ("[optim]\nlr = nan", ["optim.lr = nan", "more than 0"]),
        ("[optim]\nname = 'sgdd'", ["optim.name = 'sgdd'", "'sgd', 'adamw' or 'muon'"]),
        ("[train]\nepochs = 0", ["train.epochs = 0", "at least 1 and at most 100000"]),
        ("[train]\nepochs = 1.5", ["train.epochs = 1.5", "integer"]),
        ("[train]\nepochs = true", ["train.epochs = true", "must be an integer, at least 1"]),
        ("[train]\nresolution = [[0.5, 4]]", ["train.resolution.0.1 = 4", "must be at least 8"]),
        ("[train]\nresolution = [[0.5, 16], [0.2, 24]]", ["resolution: the fractions must rise"]),
        ("[data]\nmean = [0.5, 0.5]", ["data.mean = [0.5, 0.5] in ", "mine.toml must have more than 2 values"]),
        ("[data]\nmean = [1, 2, 3, 4]", ["mine.toml must have at most 3 values"]),
        ("[data]\nmean = 3", ["mine.toml must be an array"]),
        ("[optim]\nlr = [1]", ["must be a number, more than 0 and at most 100"]),
        ("[optim]\nnesterov = 1", ["must be true or false"]),
        ("[model]\nname = 3", ["model.name = 3", "must be a string"]),
        ("[model]\nname = ''", ["model.name = ''", "must be not empty"]),
        ("[schedule]\nmilestones = [2.0]", ["schedule.milestones.0 = 2.0", "must be less than 1"]),
        ("[train]\nseed = -1", ["at least 0 and less than 4294967296"]),
        ("[optim]\nname = '" + "x" * 10_000 + "'", ["x...", "'sgd', 'adamw' or 'muon'"]),
        ("a = " + "[" * 10_000, ["mine.toml is nested more than 50 levels deep"]),
        ("[model]\narguments = " + "{a=" * 60 + "1" + "}" * 60, ["mine.toml is nested more than 50 levels deep"]),
        ("[train]\nepochs = " + "9" * 10_000, ["mine.toml is not valid TOML"]),
        ("\0", ["mine.toml is not valid TOML"]),
        ("train = 3", ["train = 3", "must be a table"]),
        ("[train\nepochs = 1", ["mine.toml is not valid TOML", "line 1"]),
        ("[train]\nepochs = 1\nepochs = 2\n", ["mine.toml is not valid TOML", "line 3"]),
    ],
)
def test_a_wrong_recipe_says_where_and_what(recipe_file, text, fragments):
    with pytest.raises(ConfigError) as caught:
        load_recipe(recipe_file(text))
    for fragment in fragments:
        assert fragment in caught.value.message
    assert len(caught.value.message) < 500
    # Nothing in pydantic's own words.
    assert "Value error" not in caught.value.message
    assert "should" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("assignment", "fragment"),
    [
        ("optim.lr", "section.key=value"),
        ("lr=1", "section.key=value"),
        (".lr=1", "section.key=value"),
        ("optim.lr=-1", "in --set optim.lr=-1"),
        ("optim.beta=1", "did you mean 'optim.beta2'?"),
        ("optim.lr.x=1", "optim.lr"),
    ],
)
def test_a_wrong_assignment_is_named(assignment, fragment):
    with pytest.raises(ConfigError) as caught:
        load_recipe(assignments=[assignment])
    assert fragment in caught.value.message


def test_a_wrong_flag_is_named():
    with pytest.raises(ConfigError, match=r"train\.epochs = 0 in the command line must be at least 1"):
        load_recipe(flags={"train.epochs": 0})


def test_a_missing_file_and_one_that_is_no_text(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load_recipe(tmp_path / "none.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b'[data]\nsource = "\xe9"\n')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_recipe(path)


def test_sizes_and_colours_follow_from_data_and_model():
    cifar = load_recipe(flags={"data.source": "cifar10"})
    assert (cifar.data.image_px, cifar.data.mean) == (32, CIFAR10_MEAN)
    folder = load_recipe(flags={"data.source": "photos", "model.name": "resnet18"})
    assert (folder.data.image_px, folder.data.resize_px, folder.data.mean) == (224, 224, IMAGENET_MEAN)
    mlp = load_recipe(flags={"model.name": "mlp", "data.image_px": 16})
    assert mlp.model.arguments["image_px"] == 16


def test_another_model_on_the_command_line_drops_the_files_arguments(recipe_file):
    path = recipe_file("[model]\nname = 'mlp'\narguments = {hidden = [4]}\n")
    assert load_recipe(path).model.arguments == {"hidden": [4], "image_px": 64}
    assert load_recipe(path, flags={"model.name": "cnn"}).model.arguments == {}


@pytest.mark.parametrize("explained", [False, True])
def test_a_resolved_recipe_reads_back_as_itself(tmp_path, explained):
    recipe = load_recipe(
        assignments=['data.source=a\\b "c"', "train.resolution=[[0.25, 16], [0.5, 24]]", "data.val_fraction=0.1"]
    )
    text = recipe_text(recipe, explained=explained)
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    assert load_recipe(path) == recipe
    assert tomllib.loads(text) == recipe.to_dict()


def test_a_path_that_is_not_utf8_cannot_be_recorded():
    with pytest.raises(ConfigError, match="can't be written as TOML"):
        recipe_text(load_recipe(flags={"data.source": "bad\udcff"}))


def test_explanations_tell_what_is_allowed():
    lines = recipe_text(load_recipe(), explained=True).splitlines()
    for key, allowed in {
        "schedule.final": "[0 to 1]",
        "augment.padding": "[reflect, zero]",
        "optim.lr": "[more than 0, at most 100]",
        "optim.grad_clip": "[at least 0]",
    }.items():
        assert any(line.startswith(f"{key.split('.')[1]} = ") and line.endswith(allowed) for line in lines), key


def test_every_key_is_explained():
    for name, section in SECTIONS.items():
        for key, about in section.model_fields.items():
            assert about.description, f"{name}.{key}"
    assert len(set(known_keys())) == len(known_keys())


def test_differing_keys_are_named_in_order():
    old = load_recipe(flags={"model.name": "mlp"}).to_dict()
    new = load_recipe(assignments=["optim.lr=0.5", "data.val_fraction=0.1"], flags={"model.name": "mlp"}).to_dict()
    assert differing_keys(old, new) == ["data.val_fraction", "optim.lr"]
    assert differing_keys(old, old) == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_every_shipped_recipe_is_right(path):
    recipe = load_recipe(path)
    build_network(recipe.model.name, num_classes=10, arguments=recipe.model.arguments)
    assert f"imgcls train -c {path.stem} " in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("assignment", "hint"), [("epochs=3", "--set train.epochs=3"), ("lr=1", "--set optim.lr=1")])
def test_a_key_without_its_section_gets_it_in_the_hint(assignment, hint):
    with pytest.raises(ConfigError) as caught:
        load_recipe(assignments=[assignment])
    assert hint in caught.value.hint


@settings(max_examples=2000, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*SECTIONS, "x"]),
        st.dictionaries(
            st.sampled_from([*(key.split(".")[1] for key in known_keys()), "x", "y.z"]),
            st.recursive(
                st.booleans()
                | st.integers()
                | st.floats()
                | st.text(max_size=5)
                | st.sampled_from(["auto", "sgd", "off"]),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
                max_leaves=4,
            ),
            max_size=3,
        )
        | st.integers(),
        max_size=3,
    )
)
def test_any_values_make_a_recipe_or_an_error_of_ours(values):
    try:
        recipe = check_recipe(values, resolve=False)
    except ConfigError as exc:
        said = exc.message
        assert not any(word in said for word in ("Input should", "Value error", "Field required", "validation"))
        return
    assert check_recipe(recipe.to_dict(), resolve=False) == recipe
