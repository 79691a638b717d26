"""AOTInductor packages: compiled, loaded, compared; and refused where they can't or mustn't run."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from exported_models import CLASSES, load_mlp

from imgcls.errors import DeviceError, ModelError
from imgcls.export import aoti
from imgcls.export.request import ExportRequest
from imgcls.inference.backends.backend import LoadOptions, load_backend
from imgcls.inference.backends.torch_backend import TorchBackend
from imgcls.models.loaded_model import LoadedModel
from imgcls.models.loading import load_model
from imgcls.models.programs.archive import read_archive

needs_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="needs g++")


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_mlp(tmp_path_factory.mktemp("mlp"))


@pytest.fixture(scope="module")
def package(mlp: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "mlp.pt2"
    report = aoti.write(mlp, path, ExportRequest(device="cpu"))
    values = json.loads(json.dumps(report.to_dict()))
    assert (values["format"], values["precision"], values["num_pictures"]) == ("aoti", "fp32", 8)
    assert values["largest_difference"] <= 1e-5
    assert [each.name for each in path.parent.iterdir()] == ["mlp.pt2"]
    return path


def with_metadata(package: Path, path: Path, **told: str) -> Path:
    """The same package, which says something else of itself."""
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("wrapper_metadata.json"):
                values = json.loads(content)
                card = json.loads(values["imgcls"])
                card["versions"]["torch"] = told.get("torch", card["versions"]["torch"])
                changed = {key: value for key, value in told.items() if key != "torch"}
                content = json.dumps({**values, **changed, "imgcls": json.dumps(card)}).encode()
            new.writestr(name, content)
    return path


@needs_compiler
@pytest.mark.slow
def test_a_package_answers_as_its_model_does_at_any_batch(mlp: LoadedModel, package: Path) -> None:
    card = read_archive(package).card
    assert (card.classes, card.transform, card.weights_sha256) == (CLASSES, mlp.transform, mlp.weights_sha256)
    loaded = load_backend(str(package), LoadOptions(allow_code=True))
    assert (loaded.runtime, loaded.device) == ("aoti", "cpu")
    own = TorchBackend(mlp, torch.device("cpu"))
    for count in (1, 3, 32):
        images = np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        np.testing.assert_allclose(loaded.backend.probabilities(images), own.probabilities(images), atol=1e-5)


@needs_compiler
@pytest.mark.slow
def test_code_runs_for_those_only_who_allow_it(package: Path) -> None:
    with pytest.raises(ModelError, match="native code") as refused:
        load_backend(str(package))
    assert "--allow-code" in (refused.value.hint or "")
    with pytest.raises(ModelError, match="native code"):
        load_model(str(package))


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"AOTI_PLATFORM": "win32"}, "compiled for win32, and this is"),
        ({"AOTI_MACHINE": "riscv64"}, "compiled for riscv64, and this is"),
        ({"torch": "2.3.1"}, "compiled for torch 2.3, and this is"),
    ],
)
def test_what_was_compiled_elsewhere_is_not_loaded(
    package: Path, tmp_path: Path, told: dict[str, str], words: str
) -> None:
    other = with_metadata(package, tmp_path / "m.pt2", **told)
    with pytest.raises(ModelError, match=words) as refused:
        load_backend(str(other), LoadOptions(allow_code=True))
    assert "imgcls export mlp --to aoti" in (refused.value.hint or "")
    if "torch" in told:
        assert "pip install 'torch==2.3.1'" in (refused.value.hint or "")


@needs_compiler
@pytest.mark.slow
def test_a_processor_without_its_instructions_is_refused(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: False)
    other = with_metadata(package, tmp_path / "m.pt2", AOTI_CPU_ISA="AVX512")
    with pytest.raises(ModelError, match="a processor with AVX512, which this one lacks"):
        load_backend(str(other), LoadOptions(allow_code=True))


@needs_compiler
@pytest.mark.slow
def test_other_devices_and_torn_packages_are_refused(package: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="compiled for cpu"):
        load_backend(str(package), LoadOptions(allow_code=True, device="cuda"))
    torn = tmp_path / "torn.pt2"
    torn.write_bytes(package.read_bytes()[:5000])
    with pytest.raises(ModelError, match="can't be read"):
        load_backend(str(torn), LoadOptions(allow_code=True))
    with pytest.raises(ModelError, match="no such"):
        load_backend(str(tmp_path / "none.pt2"), LoadOptions(allow_code=True))


def test_without_a_compiler_it_is_said_what_to_install(
    mlp: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(DeviceError, match=r"takes a C\+\+ compiler") as refused:
        aoti.write(mlp, tmp_path / "m.pt2", ExportRequest())
    assert "apt-get install g++" in (refused.value.hint or "")
    assert list(tmp_path.iterdir()) == []
