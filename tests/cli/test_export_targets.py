"""`imgcls export` to web sites and ExecuTorch programs, and what answers from them, through the command line."""

import importlib.util
import json
from pathlib import Path

import pytest
from exported_models import load_cnn
from labelled_data import write_classes, write_image
from node_package import contents, write_archive
from typer.testing import CliRunner, Result

from imgcls.cli.app import app

HAS_EXECUTORCH = importlib.util.find_spec("executorch") is not None


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert "\n  hint: " in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return load_cnn(tmp_path_factory.mktemp("cnn")).weights_path


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("npm") / "p.tgz", contents("wasm", "webgpu"))


def test_a_site_is_written_and_its_model_answers(checkpoint: Path, package: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    result = run("export", checkpoint, "--to", "web", "-o", site, "--ort", package)
    assert result.exit_code == 0, result.stderr
    assert "as web" in result.stdout
    assert "all files of the site" in result.stdout
    assert f"python3 -m http.server -d {site}" in result.stderr
    refused(run("export", checkpoint, "--to", "web", "-o", site, "--ort", package), 8, "exists already", "--overwrite")
    again = run("export", checkpoint, "--to", "web", "-o", site, "--ort", package, "--overwrite", "-f", "json")
    told = json.loads(again.stdout)
    assert (told["format"], told["precision"], told["output"]) == ("web", "fp16", str(site))
    assert told["total_bytes"] == sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    write_image(tmp_path / "a.png", px=40)
    answered = run("predict", tmp_path / "a.png", "-m", site / "model.onnx", "-f", "json")
    assert json.loads(answered.stdout)["model"]["id"] == json.loads((site / "site.json").read_bytes())["model_id"]


def test_what_a_site_needs_is_said_before_any_work(
    checkpoint: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(run("export", checkpoint, "--to", "web", "-o", "site"), 7, "onnxruntime-web", "npm pack")
    refused(run("export", checkpoint, "-o", "m.onnx", "--ort", package), 2, "--ort is not for onnx", "--to web")
    refused(run("export", checkpoint, "-o", "m.pt", "--ort", package), 2, "a checkpoint is the model as it is")
    refused(run("export", checkpoint, "--to", "web", "-o", "s", "--int8", "--ort", package), 2, "--calibrate DIR")
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos" / "a.png")
    refused(
        run("export", checkpoint, "--to", "web", "-o", "photos", "--ort", package, "--overwrite"), 8, "something else"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


@pytest.mark.skipif(HAS_EXECUTORCH, reason="executorch is installed")
def test_without_executorch_its_extra_is_named(checkpoint: Path, tmp_path: Path) -> None:
    from imgcls.models.programs.executorch import with_sum

    path = tmp_path / "m.pte"
    refused(run("export", checkpoint, "-o", path), 7, "executorch", "pip install 'imgcls[executorch]'")
    assert not path.exists()
    path.write_bytes(with_sum(b"a program"))
    write_image(tmp_path / "a.png")
    refused(run("predict", tmp_path / "a.png", "-m", path), 6, "executorch", "pip install 'imgcls[executorch]'")


@pytest.mark.slow
@pytest.mark.skipif(not HAS_EXECUTORCH, reason="needs the executorch extra: pip install 'imgcls[executorch]'")
def test_predict_eval_and_manifest_with_a_program(checkpoint: Path, tmp_path: Path) -> None:
    path, data = tmp_path / "m.pte", write_classes(tmp_path / "data", {"cat": 3, "dog": 3})
    result = run("export", checkpoint, "-o", path, "-f", "json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["format"] == "executorch"
    expected = json.loads(run("predict", data, "-m", checkpoint, "--runtime", "torch", "-f", "json").stdout)
    answered = run("predict", data, "-m", path, "-f", "json", "-o", tmp_path / "out.json")
    assert answered.exit_code == 0, answered.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["model"]["runtime"] == "executorch"
    for one, other in zip(expected["results"], found["results"], strict=True):
        for a, b in zip(one["predictions"], other["predictions"], strict=True):
            assert (a["label"], round(a["probability"], 3)) == (b["label"], round(b["probability"], 3))
    measured = [
        json.loads(run("eval", "-m", model, "--data", data, "-f", "json").stdout)["correct"]
        for model in (checkpoint, path)
    ]
    assert measured[0] == measured[1]
    refused(run("export", path, "-o", tmp_path / "again.onnx"), 2, "exported file already")
