"""What a recipe takes from the weights that it begins with."""

import shutil

import pytest
import torch

from imgcls.errors import ConfigError, ModelError
from imgcls.images.transform import IMAGENET_MEAN, Transform
from imgcls.models.building import build_network
from imgcls.models.checkpoint import Checkpoint, save_checkpoint
from imgcls.recipes.loading import load_recipe, recipe_text
from imgcls.recipes.resolving import resolve_recipe
from imgcls.training.setup.checks import check_recipe_fits

TRANSFORM = Transform(20, 16, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bicubic")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "earlier"
    folder.mkdir()
    arguments = {"widths": [4], "depth": 1}
    weights = build_network("cnn", num_classes=2, arguments=arguments).state_dict()
    save_checkpoint(Checkpoint("cnn", arguments, ("a", "b"), TRANSFORM, weights), folder / "best.pt")
    return folder


@pytest.mark.parametrize("key", ["model.name", "model.weights"])
def test_a_checkpoint_brings_its_network_and_its_preprocessing(run, tmp_path, key):
    recipe = load_recipe(flags={key: str(run)})
    assert recipe.model.model_dump() == {
        "name": "cnn",
        "pretrained": False,
        "weights": str(run / "best.pt"),
        "labels": "",
        "ema": False,
        "arguments": {"widths": [4], "depth": 1},
    }
    data = recipe.data
    assert (data.resize_px, data.image_px, data.mean, data.std, data.interpolation) == (
        *(TRANSFORM.resize_px, TRANSFORM.crop_px),
        *(TRANSFORM.mean, TRANSFORM.std, TRANSFORM.interpolation),
    )
    # A run that goes on needs its own folder only.
    shutil.rmtree(run)
    (tmp_path / "config.toml").write_text(recipe_text(recipe))
    assert load_recipe(tmp_path / "config.toml") == recipe == resolve_recipe(recipe)


def test_the_recipe_has_the_last_word(run):
    recipe = load_recipe(flags={"model.name": str(run), "data.image_px": 32, "data.mean": [0.5, 0.5, 0.5]})
    # 20 to 16 is 40 to 32.
    assert (recipe.data.image_px, recipe.data.resize_px) == (32, 40)
    assert recipe.data.mean == (0.5, 0.5, 0.5)
    assert recipe.data.std == TRANSFORM.std


def test_published_weights_are_named_and_bring_their_preprocessing():
    recipe = load_recipe(flags={"model.name": "resnet50", "model.pretrained": True, "data.source": "cifar10"})
    assert (recipe.model.pretrained, recipe.data.resize_px, recipe.data.image_px) == ("IMAGENET1K_V2", 232, 224)
    assert recipe.data.mean == IMAGENET_MEAN
    assert load_recipe(assignments=["model.name=resnet50", "model.pretrained=IMAGENET1K_V1"]).data.resize_px == 256
    # Published with their second outputs, and for pixels on another scale.
    googlenet = load_recipe(flags={"model.name": "googlenet", "model.pretrained": True})
    assert googlenet.model.arguments == {"aux_logits": False, "transform_input": True}
    assert load_recipe(flags={"model.name": "googlenet"}).model.arguments["transform_input"] is False
    vit = load_recipe(flags={"model.name": "vit_b_16", "model.pretrained": "IMAGENET1K_SWAG_E2E_V1"})
    assert (vit.data.image_px, vit.data.interpolation) == (384, "bicubic")
    assert vit.model.arguments == {"image_size": 384}


def test_another_network_on_the_command_line_still_begins_trained(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        "[model]\nname = 'resnet18'\npretrained = 'IMAGENET1K_V1'\narguments = {zero_init_residual = true}\n"
    )
    model = load_recipe(path, flags={"model.name": "resnet50"}).model
    assert (model.pretrained, model.arguments) == ("IMAGENET1K_V2", {})
    model = load_recipe(path, flags={"model.name": "cifar10-cnn"}).model
    assert (model.name, model.pretrained, model.weights) == ("cnn", False, "cifar10-cnn")
    with pytest.raises(ConfigError, match="nobody publishes weights of 'mlp'") as caught:
        load_recipe(path, flags={"model.name": "mlp"})
    assert "--model cifar10-cnn" in caught.value.hint


def test_what_contradicts_itself_is_said(run, tmp_path):
    with pytest.raises(ModelError, match="is a checkpoint of 'cnn', not of 'resnet18'") as caught:
        load_recipe(flags={"model.name": "resnet18", "model.weights": str(run)})
    assert f"--model {run}" in caught.value.hint
    with pytest.raises(ConfigError, match="both say what to begin with"):
        load_recipe(flags={"model.name": str(run), "model.weights": "cifar10-cnn"})
    torch.save({"a": torch.ones(1)}, tmp_path / "plain.pth")
    with pytest.raises(ConfigError, match="without the name of their network") as config:
        load_recipe(flags={"model.weights": str(tmp_path / "plain.pth")})
    assert "--model resnet18 --weights" in config.value.hint
    with pytest.raises(ModelError, match="unknown model 'resnet-18'; did you mean 'resnet18'"):
        load_recipe(flags={"model.name": "resnet-18"})
    with pytest.raises(ConfigError, match=r"model\.pretrained = 3"):
        load_recipe(assignments=["model.pretrained=3"])


@pytest.mark.parametrize(
    ("name", "px", "fits"),
    [("alexnet", 32, False), ("alexnet", 64, True), ("regnet_x_400mf", 32, True), ("vit_b_16", 40, False),
     ("vit_b_16", 64, True), ("maxvit_t", 64, False), ("mlp", 8, True)],
)  # fmt: skip
def test_images_that_a_network_cannot_take_are_refused_before_any_work(name, px, fits):
    def check():
        check_recipe_fits(load_recipe(flags={"data.source": "photos", "model.name": name, "data.image_px": px}))

    if fits:
        check()
        return
    with pytest.raises(ConfigError, match=rf"{name}.* {px}") as caught:
        check()
    assert "data.image_px" in caught.value.hint
