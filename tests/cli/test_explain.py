"""`imgcls predict --explain`: a PNG per image that was classified, and which is whose."""

import json
from pathlib import Path

import pytest
from PIL import Image
from tiny_model import save_images
from typer.testing import CliRunner, Result

from imgcls.cli.app import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def index(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "explanations.jsonl").read_text("utf-8").splitlines()]


def test_each_classified_image_is_explained(tmp_path: Path, tiny_model: Path) -> None:
    paths = save_images(tmp_path / "in", 3)
    (tmp_path / "in" / "torn.png").write_bytes(b"nothing")
    folder = tmp_path / "why"
    result = run("-m", tiny_model, tmp_path / "in", "-f", "jsonl", "--explain", folder)
    assert result.exit_code == 4
    records = [json.loads(line) for line in result.stdout.splitlines()]
    lines = index(folder)
    assert [line["input"] for line in lines] == [str(path) for path in paths]
    assert [line["label"] for line in lines] == [record["predictions"][0]["label"] for record in records[:3]]
    # An MLP has no layer that knows places.
    assert {line["method"] for line in lines} == {"occlusion (49 covers)"}
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*(str(line["file"]) for line in lines), "explanations.jsonl"]
    )
    for line in lines:
        with Image.open(folder / str(line["file"])) as image:
            assert image.format == "PNG"
            assert image.size[0] > 2 * 224
    assert "wrote 3 explanations" in result.stderr
    # The same images again: the same bytes.
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run("-m", tiny_model, tmp_path / "in", "-f", "jsonl", "--explain", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_answers_are_the_same_with_and_without(tmp_path: Path, tiny_model: Path) -> None:
    save_images(tmp_path / "in", 2)
    plain = run("-m", tiny_model, tmp_path / "in", "-f", "jsonl")
    explained = run("-m", tiny_model, tmp_path / "in", "-f", "jsonl", "--explain", tmp_path / "why")
    assert explained.stdout == plain.stdout


def test_a_class_by_name_and_inputs_of_one_name(tmp_path: Path, tiny_model: Path) -> None:
    for folder in ("a", "b"):
        save_images(tmp_path / folder, 1)
    result = run(
        "-m", tiny_model, tmp_path / "a", tmp_path / "b", "--explain", tmp_path / "why", "--explain-class", "owl"
    )
    assert result.exit_code == 0, result.stderr
    assert [(line["file"], line["label"]) for line in index(tmp_path / "why")] == [
        ("0000-owl.png", "owl"),
        ("0000-owl-2.png", "owl"),
    ]


def test_onnx_files_are_explained_by_occlusion(tmp_path: Path, tiny_model: Path) -> None:
    pytest.importorskip("onnxruntime")
    from imgcls.export.run import export

    save_images(tmp_path / "in", 1)
    model = tmp_path / "m.onnx"
    export(tiny_model, model)
    assert run("-m", model, tmp_path / "in", "--explain", tmp_path / "why").exit_code == 0
    assert index(tmp_path / "why")[0]["method"] == "occlusion (49 covers)"
    refused = run("-m", model, tmp_path / "in", "--explain", tmp_path / "why", "--explain-method", "grad-cam")
    assert (refused.exit_code, "has no gradients" in refused.stderr) == (2, True)


def test_mistakes(tmp_path: Path, tiny_model: Path) -> None:
    (image,) = save_images(tmp_path, 1)
    unknown = run("-m", tiny_model, image, "--explain", tmp_path / "why", "--explain-class", "ow")
    assert unknown.exit_code == 2
    assert "no class 'ow'" in unknown.stderr
    assert '--explain-class "owl"' in unknown.stderr
    alone = run("-m", tiny_model, image, "--explain-class", "owl")
    assert (alone.exit_code, "--explain DIR" in alone.stderr) == (2, True)
    blocked = run("-m", tiny_model, image, "--explain", image)
    assert (blocked.exit_code, blocked.stdout) == (8, "")
