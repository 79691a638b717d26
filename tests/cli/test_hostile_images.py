"""Images that were made to cost much, and programs under an image's name, in every command that decodes images."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exported_models import save_model
from hostile_images import EPS, blp_of_jpeg, encoded, png_bomb, progressive_jpeg, sequential_jpeg, tiff_of_strips
from labelled_data import write_classes

Run = Callable[..., Any]
HOSTILE = {
    "program.jpg": EPS,
    "bomb.png": png_bomb(),
    "scans.jpg": progressive_jpeg(60_000, 16),
    "empty-scans.jpg": sequential_jpeg(60_000, 4000),
    "texture.png": blp_of_jpeg(sequential_jpeg(60_000, 4000))[:-4000],
    "torn.jpg": encoded("JPEG", 400, 300)[:-2000],
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes of ten images; one of them has those above too."""
    folder = write_classes(tmp_path / "images", {"cat": 10, "dog": 10})
    for name, content in HOSTILE.items():
        (folder / "cat" / name).write_bytes(content)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_model(tmp_path / "mlp.pt", "mlp", {"image_px": 8, "hidden": [4]}, 8)


TRAIN = ("--set", "model.name=mlp", "--set", "data.image_px=8", "--set", "model.arguments.hidden=[4]")


def test_predict_names_each_and_loses_none(imgcls: Run, images: Path, model: Path) -> None:
    run = imgcls("predict", images, "-m", model, "-f", "jsonl", "--image-timeout", 5)
    found = {Path(record["input"]).name: record for record in map(json.loads, run.stdout.splitlines())}
    assert (run.code, len(run.stdout.splitlines())) == (4, 20 + len(HOSTILE))
    kinds = {name: found[name]["error"]["kind"] for name in HOSTILE}
    assert kinds == {
        name: {"program.jpg": "not_an_image", "bomb.png": "too_large"}.get(name, "corrupt_image") for name in HOSTILE
    }
    assert sum(record["status"] == "ok" for record in found.values()) == 10


def test_good_images_beside_endless_ones_are_read(imgcls: Run, model: Path, tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / "in").mkdir(exist_ok=True)
        jpeg = progressive_jpeg if number % 2 else sequential_jpeg
        (tmp_path / "in" / f"a{number:02}.jpg").write_bytes(jpeg(60_000, 8))
        if number < 30:
            (tmp_path / "in" / f"g{number:02}.jpg").write_bytes(encoded("JPEG", 400, 300))
        if number < 4:
            (tmp_path / "in" / f"strips{number}.tif").write_bytes(tiff_of_strips(200))
    run = imgcls("predict", tmp_path / "in", "-m", model, "-f", "jsonl", "--image-timeout", 2)
    records = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(records) == 74
    good = [record["status"] for record in records if Path(record["input"]).name[0] == "g"]
    assert good == ["ok"] * 30
    assert all("scans" in record["error"]["message"] for record in records if Path(record["input"]).name[0] == "a")


def test_train_leaves_them_out_and_eval_names_them(imgcls: Run, images: Path, tmp_path: Path) -> None:
    train = ("train", "--data", images, *TRAIN, "--epochs", 1, "--device", "cpu", "-o", tmp_path / "run", "-f", "json")
    run = imgcls(*train)
    assert run.code == 0, run.stderr
    assert json.loads(run.stdout)["skipped_images"] == len(HOSTILE)
    run = imgcls("eval", tmp_path / "run", "--data", images, "-f", "json")
    assert run.code == 4, run.stderr
    assert json.loads(run.stdout)["skipped_images"] == len(HOSTILE)


def test_compare_and_calibrate_leave_them_out(imgcls: Run, images: Path, model: Path, tmp_path: Path) -> None:
    run = imgcls("compare", model, model, "--data", images, "-f", "json")
    assert run.code in (0, 4), run.stderr
    assert "Traceback" not in run.stderr
    run = imgcls("calibrate", model, "--data", images, "-o", tmp_path / "c.pt")
    assert run.code in (0, 4, 5), run.stderr
    assert "Traceback" not in run.stderr


def test_check_lists_them(imgcls: Run, images: Path) -> None:
    run = imgcls("check", images, "-f", "json")
    assert run.code == 0, run.stderr
    told = run.stdout.decode()
    assert all(name in told for name in HOSTILE)


def test_tune_goes_on_without_them(imgcls: Run, images: Path, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    (tmp_path / "space.toml").write_text("[optim]\nlr = [0.01, 0.02]\n")
    search = ("tune", "--data", images, *TRAIN, "--space", tmp_path / "space.toml", "--trials", 1)
    run = imgcls(*search, "--set", "train.epochs=1", "--device", "cpu", "-o", tmp_path / "study")
    assert run.code == 0, run.stderr


def test_an_int8_export_calibrates_without_them(imgcls: Run, images: Path, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run = imgcls("export", model, "-o", tmp_path / "m.onnx", "--int8", "--calibrate", images)
    assert run.code == 0, run.stderr


def with_a_flipped_bit(content: bytes) -> bytes:
    """Another weight: the file can be read as before."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (info,) = [info for info in archive.infolist() if info.filename.endswith("/data/0")]
    name, extra = struct.unpack("<HH", content[info.header_offset + 26 : info.header_offset + 30])
    place = info.header_offset + 30 + name + extra
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


TAMPERED = {
    "cut": lambda content: content[: len(content) // 2],
    "one bit": with_a_flipped_bit,
    "a pickle": lambda _content: b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.",
    "zero bytes": lambda content: bytes(len(content)),
}
COMMANDS = [
    ("eval", "{model}", "--data", "images"),
    ("export", "{model}", "-o", "out.onnx"),
    ("export", "{model}", "-o", "out.pt", "--to", "checkpoint"),
    ("compare", "{model}", "{model}", "--data", "images"),
    ("calibrate", "{model}", "--data", "images", "-o", "c.pt"),
    ("train", "-m", "{model}", "--data", "images", "-o", "run"),
    ("predict", "images", "-m", "{model}"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("how", TAMPERED)
def test_a_tampered_checkpoint_is_code_6_everywhere(
    imgcls: Run, model: Path, tmp_path: Path, command: tuple[str, ...], how: str
) -> None:
    write_classes(tmp_path / "images", {"cat": 2, "dog": 2})
    model.write_bytes(TAMPERED[how](model.read_bytes()))
    run = imgcls(*(part.format(model=model) for part in command), cwd=tmp_path)
    assert run.code == 6, run.stderr
    assert run.stdout == b""
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "ran").exists()
