"""A model's ONNX twin: the model's answers under the model's name, made once, and never trusted blindly."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import save_model
from tiny_model import save_image, save_images
from torch import Tensor, nn

from imgcls import load_classifier
from imgcls.errors import ModelError, OutputError, UsageError
from imgcls.host import cache_folders
from imgcls.inference.backends.backend import LoadOptions, load_backend
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.loading import load_model
from imgcls.twins.cache import failure_of, open_twin, twin_path, twins_folder
from imgcls.twins.identity import Identity, identify
from imgcls.twins.making import make_twin
from imgcls.twins.runtime import TwinRequest, find_twin, make_wanted_twin
from imgcls.twins.upcoming import NothingKnown, UpcomingSources

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "cnn.pt", "cnn", {"widths": [8, 16]}, 32)


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the checkpoint's twin."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMGCLS_CACHE", str(folder))
        make_twin(load_model(str(checkpoint)), identity_of(checkpoint), upcoming=NothingKnown())
    return folder / "twins"


@pytest.fixture
def twin(made: Path, checkpoint: Path) -> Path:
    """The twin in this test's own cache."""
    shutil.copytree(made, twins_folder())
    return twin_path(identity_of(checkpoint))


def identity_of(checkpoint: Path, **options: Any) -> Identity:
    identity = identify(str(checkpoint), **options)
    assert identity is not None
    return identity


def request_for(checkpoint: Path, **options: Any) -> TwinRequest:
    return TwinRequest(**{"spec": str(checkpoint), "device": "cpu", **options})


def pixels(count: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_it_answers_as_the_model_and_under_its_name(checkpoint: Path, twin: Path) -> None:
    found = load_backend(str(checkpoint), LoadOptions(device="cpu"))
    plain = load_backend(str(checkpoint), LoadOptions(device="cpu", runtime="torch"))
    assert (found.runtime, plain.runtime) == ("onnxruntime", "torch")
    assert found.backend.id == plain.backend.id
    assert found.backend.describe() == plain.backend.describe()
    assert (found.backend.classes, found.backend.transform) == (plain.backend.classes, plain.backend.transform)
    np.testing.assert_allclose(
        found.backend.probabilities(pixels()), plain.backend.probabilities(pixels()), atol=1e-4, rtol=0
    )


def test_with_a_twin_nothing_imports_torch(checkpoint: Path, twin: Path, tmp_path: Path) -> None:
    (image,) = save_images(tmp_path, 1)
    code = f"""
import sys
sys.modules["torch"] = sys.modules["torchvision"] = None  # an import fails, as where they are missing
sys.argv = ["imgcls", "predict", {str(image)!r}, "-m", {str(checkpoint)!r}, "--device", "cpu", "-f", "jsonl"]
from imgcls.cli.app import main
main()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["model"].startswith("cnn@")


def test_it_is_made_where_there_is_enough_to_do(checkpoint: Path, tmp_path: Path) -> None:
    class Some(UpcomingSources):
        def __init__(self, count: int) -> None:
            super().__init__(lambda: ())
            self.count = count

        def are_at_least(self, count: int) -> bool:
            return self.count >= count

    model = load_model(str(checkpoint))
    for count, is_made in ((1000, False), (50_000, True)):
        request = request_for(checkpoint, upcoming=Some(count), on_step=(said := []).append)
        found = find_twin(request)
        assert (found.twin, found.is_wanted) == (None, True)
        assert (make_wanted_twin(request, model, found).twin is not None) is is_made
        assert len(said) == is_made


def test_pytorch_is_asked_where_it_is_asked_for(checkpoint: Path, twin: Path) -> None:
    assert find_twin(request_for(checkpoint, runtime="torch")) == (None, False, ())
    assert find_twin(request_for(checkpoint, device="cuda")) == (None, False, ())
    assert load_backend(str(checkpoint), LoadOptions(device="cpu", runtime="torch")).runtime == "torch"


def test_moved_it_is_found_and_otherwise_named_it_is_not(checkpoint: Path, twin: Path, tmp_path: Path) -> None:
    moved = shutil.copy(checkpoint, tmp_path / "other.pt")
    assert find_twin(request_for(moved)).twin is not None
    labels = ("one", "two", "three")
    assert find_twin(request_for(checkpoint, weights=moved, labels=labels)).twin is None
    other = save_model(tmp_path / "mlp.pt", "mlp", {"image_px": 32, "hidden": [4]}, 32)
    assert find_twin(request_for(other)).twin is None


@pytest.mark.parametrize("harm", ["flipped", "cut", "empty", "text", "foreign"])
def test_a_damaged_or_foreign_file_is_noticed_and_made_anew(
    checkpoint: Path, twin: Path, tmp_path: Path, harm: str
) -> None:
    content = bytearray(twin.read_bytes())
    content[len(content) // 2] ^= 0x40
    harmed = {"flipped": bytes(content), "cut": bytes(content[:-200]), "empty": b"", "text": b"not a model at all"}
    if harm == "foreign":
        other = save_model(tmp_path / "mlp.pt", "mlp", {"image_px": 32, "hidden": [4]}, 32)
        path = make_twin(load_model(str(other)), identity_of(other), upcoming=NothingKnown())
        harmed["foreign"] = path.read_bytes()
    twin.write_bytes(harmed[harm])
    found = find_twin(request_for(checkpoint))
    assert (found.twin, found.is_wanted) == (None, True)
    loaded = load_backend(str(checkpoint), LoadOptions(device="cpu", on_step=(said := []).append))
    assert loaded.runtime == "onnxruntime"
    assert any("made anew" in line for line in said)
    assert find_twin(request_for(checkpoint)).twin is not None


def test_one_of_other_versions_is_replaced(checkpoint: Path, twin: Path) -> None:
    former = twin.with_name(identity_of(checkpoint).prefix + "01234567.onnx")
    twin.rename(former)
    assert load_backend(str(checkpoint), LoadOptions(device="cpu")).runtime == "onnxruntime"
    assert [path.name for path in twins_folder().glob("*.onnx")] == [twin.name]
    assert not former.exists()


class CannotBeExported(nn.Module):
    def forward(self, images_BCHW: Tensor) -> Tensor:
        # What this loop does depends on the values, which no graph can hold.
        while images_BCHW.sum().item() > 1e9:
            images_BCHW = images_BCHW / 2
        return images_BCHW.mean((2, 3))


class AnswersOtherwise(nn.Module):
    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.mean((2, 3)) * (2 if torch.compiler.is_exporting() else 1)


def test_what_cannot_be_exported_is_left_to_pytorch_and_remembered(checkpoint: Path) -> None:
    model = load_model(str(checkpoint))
    broken = LoadedModel(
        "broken", CannotBeExported(), model.classes, model.transform, model.weights_sha256, model.weights_path
    )
    request = request_for(checkpoint, runtime="onnx")
    with pytest.raises(ModelError, match="can't be expressed as ONNX"):
        make_wanted_twin(request, broken, find_twin(request))

    class Many(NothingKnown):
        def are_at_least(self, count: int) -> bool:
            return True

    request = request_for(checkpoint, upcoming=Many())
    found = make_wanted_twin(request, broken, find_twin(request))
    assert found.twin is None
    assert len(found.notes) == 1
    assert "PyTorch is used" in found.notes[0]
    assert "expressed as ONNX" in failure_of(identity_of(checkpoint))
    # Not every run tries anew, nor tells it.
    assert make_wanted_twin(request, broken, find_twin(request)).notes == ()


def test_other_answers_are_not_kept(checkpoint: Path) -> None:
    model = load_model(str(checkpoint))
    other = LoadedModel(
        "other", AnswersOtherwise(), model.classes, model.transform, model.weights_sha256, model.weights_path
    )
    with pytest.raises(ModelError, match="answers differently"):
        make_twin(other, identity_of(checkpoint), upcoming=NothingKnown())
    assert not list(twins_folder().glob("*.onnx"))
    assert not list(twins_folder().glob("*.part"))


def test_the_images_to_come_check_it_too(checkpoint: Path, tmp_path: Path) -> None:
    from imgcls.images.inputs.sources import iterate_sources

    save_images(tmp_path, 12)
    (tmp_path / "0001.png").write_bytes(b"damaged")
    upcoming = UpcomingSources(lambda: iterate_sources([str(tmp_path)]))
    found = upcoming.first_pixels(load_model(str(checkpoint)).transform)
    assert [each.shape for each in found] == [(32, 32, 3)] * 8
    assert upcoming.are_at_least(12)
    assert not upcoming.are_at_least(13)


def test_where_the_cache_cannot_be_written_pytorch_answers(checkpoint: Path) -> None:
    cache_folders.cache_folder().mkdir(parents=True)
    twins_folder().write_bytes(b"a file where the folder should be")
    model = load_model(str(checkpoint))
    with pytest.raises(OutputError, match="can't write"):
        make_twin(model, identity_of(checkpoint), upcoming=NothingKnown())
    assert find_twin(request_for(checkpoint)).twin is None
    assert load_classifier(checkpoint, device="cpu").backend.describe()["name"] == "cnn"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_where_the_disk_is_full_pytorch_answers_with_one_line(checkpoint: Path) -> None:
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from imgcls.models.loading import load_model
from imgcls.twins.runtime import TwinRequest, find_twin, make_wanted_twin
from imgcls.twins.upcoming import NothingKnown
class Many(NothingKnown):
    def are_at_least(self, count):
        return True
request = TwinRequest(spec={str(checkpoint)!r}, device="cpu", upcoming=Many())
print(make_wanted_twin(request, load_model(request.spec), find_twin(request)))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert "twin=None" in run.stdout
    assert "PyTorch is used: can't write" in run.stdout
    assert not list(twins_folder().glob("*.onnx"))


def test_two_processes_at_once_make_one(imgcls: Callable[..., Any], checkpoint: Path, tmp_path: Path) -> None:
    (image,) = save_images(tmp_path, 1)
    code = f"""
from imgcls import load_classifier
print(load_classifier({str(checkpoint)!r}, device="cpu", runtime="onnx").predict({str(image)!r}).probability)
"""
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=300)[0] for process in both]
    assert answers[0] == answers[1] != ""
    assert len(list(twins_folder().glob("*.onnx"))) == 1


def test_records_of_either_runtime_are_kept(
    imgcls: Callable[..., Any], checkpoint: Path, twin: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    arguments = ("predict", tmp_path / "in", "-m", checkpoint, "--device", "cpu", "-o", output, "--resume")
    for turn, (runtime, name) in enumerate((("torch", "torch"), ("auto", "onnxruntime"), ("torch", "torch"))):
        save_image(tmp_path / "in" / f"{turn}.png", turn)
        run = imgcls(*arguments, "--runtime", runtime)
        assert run.code == 0, run.stderr
        manifest = json.loads(output.with_name("out.jsonl.run.json").read_text())
        assert (manifest["runtime"], manifest["counts"]["kept"]) == (name, turn)
    assert len({json.loads(line)["model"] for line in output.read_text().splitlines()}) == 1


def test_eval_counts_the_same(checkpoint: Path, twin: Path, tmp_path: Path) -> None:
    from labelled_data import write_classes

    from imgcls import evaluate

    folder = write_classes(tmp_path / "images", {"cat": 4, "dog": 4})
    found = evaluate(checkpoint, folder, device="cpu")
    plain = evaluate(checkpoint, folder, device="cpu", runtime="torch")
    assert (found.runtime, plain.runtime) == ("onnxruntime", "torch")
    assert found.model == plain.model
    assert found.result.correct == plain.result.correct
    assert found.result.loss == pytest.approx(plain.result.loss, abs=1e-4)


def test_only_a_whole_file_of_ours_is_opened(checkpoint: Path, twin: Path) -> None:
    identity = identity_of(checkpoint)
    assert open_twin(identity) is not None
    other = Identity(identity.name, {**identity.model, "checkpoint": "0" * 64}, identity.versions)
    twin.rename(twin_path(other))
    with pytest.raises(ModelError, match="another model's twin"):
        open_twin(other)


def test_int8_is_shaped_and_judged_by_given_images(checkpoint: Path, tmp_path: Path) -> None:
    save_images(tmp_path / "typical", 12)
    with pytest.raises(UsageError, match="takes images to calibrate on"):
        load_backend(str(checkpoint), LoadOptions(device="cpu", precision="int8"))
    options = LoadOptions(device="cpu", precision="int8", calibrate=tmp_path / "typical", on_step=(said := []).append)
    made = load_backend(str(checkpoint), options)
    assert made.runtime == "onnxruntime"
    assert "calibrated on 6 images" in said[-1]
    assert "of 6 others" in said[-1]
    described = made.backend.describe()
    assert described["precision"] == "int8"
    plain = load_backend(str(checkpoint), LoadOptions(device="cpu", runtime="torch"))
    assert made.backend.id == plain.backend.id
    np.testing.assert_allclose(
        made.backend.probabilities(pixels()), plain.backend.probabilities(pixels()), atol=0.1, rtol=0
    )
    # The next runs find it, with the images named or not; float32 doesn't take it for its own.
    said.clear()
    for again in (options, LoadOptions(device="cpu", precision="int8")):
        assert load_backend(str(checkpoint), again).backend.describe() == described
    assert said == []
    assert load_backend(str(checkpoint), LoadOptions(device="cpu")).runtime == "torch"
    # Other images shape another one.
    save_image(tmp_path / "typical" / "more.png", 50)
    assert load_backend(str(checkpoint), options).backend.describe() != described
    with pytest.raises(UsageError, match="is for ONNX Runtime"):
        load_backend(str(checkpoint), LoadOptions(device="cpu", precision="int8", runtime="torch"))
