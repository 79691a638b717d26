"""`predict --tta`: the mean of the logits over the same views as `eval --tta`, whatever runs the model."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import save_image
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.evaluation.test_time_augmentation import TestTimeAugmentation, averaged_logits
from imgcls.images.views import views_of
from imgcls.inference.backends.averaged_views import AveragedViews
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.models.loading import load_model


@pytest.fixture(scope="module")
def pixels_BHWC():
    return np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize("views", ["flip", "flip+shift"])
def test_the_answer_is_that_of_eval(tiny_model, pixels_BHWC, views):
    model = load_model(str(tiny_model))
    found = AveragedViews(TorchBackend(model, torch.device("cpu")), views).probabilities(pixels_BHWC)
    input_BCHW = model.transform.normalise(torch.from_numpy(pixels_BHWC).permute(0, 3, 1, 2))
    with torch.inference_mode():
        expected = averaged_logits(model.network, input_BCHW, TestTimeAugmentation(views)).softmax(1)
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("views", "count"), [("flip", 2), ("flip+shift", 6)])
def test_weights_add_up_and_shapes_stay(pixels_BHWC, views, count):
    found = list(views_of(pixels_BHWC, views))
    assert len(found) == count
    assert sum(weight for _view, weight in found) == pytest.approx(1)
    assert {view.shape for view, _weight in found} == {pixels_BHWC.shape}
    assert np.array_equal(found[0][0], pixels_BHWC)


def test_an_image_and_its_flip_get_the_same_answer(tiny_model, pixels_BHWC):
    backend = AveragedViews(TorchBackend(load_model(str(tiny_model)), torch.device("cpu")), "flip")
    flipped = np.ascontiguousarray(pixels_BHWC[:, :, ::-1])
    np.testing.assert_allclose(backend.probabilities(pixels_BHWC), backend.probabilities(flipped), atol=1e-6)


def test_the_command_says_it_with_the_model(tmp_path: Path, tiny_model: Path):
    image = save_image(tmp_path / "a.png")
    arguments = ["predict", "-m", str(tiny_model), str(image), "-f", "json", "--runtime", "torch"]
    plain, found = (
        json.loads(CliRunner().invoke(app, [*arguments, *options]).stdout) for options in ([], ["--tta", "flip"])
    )
    assert (found["model"]["tta"], plain["model"].get("tta")) == ("flip", None)
    assert found["results"][0]["predictions"] != plain["results"][0]["predictions"]
