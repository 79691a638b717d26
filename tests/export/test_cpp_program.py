"""The C++ program of examples/cpp, built and run: the same records as predict."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from exported_models import save_model
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from imgcls.cli.app import app

SOURCES = Path(__file__).parents[2] / "examples" / "cpp"
HEADERS = ("jpeglib.h", "png.h")


def _missing() -> str:
    tools = [name for name in ("g++", "cmake") if not shutil.which(name)]
    if tools:
        return f"needs {' and '.join(tools)}"
    source = "#include <cstdio>\n" + "".join(f"#include <{name}>\n" for name in HEADERS)
    found = subprocess.run(
        ["g++", "-x", "c++", "-fsyntax-only", "-"], input=source, text=True, capture_output=True, check=False
    )
    return "" if found.returncode == 0 else "needs libjpeg-dev and libpng-dev"


MISSING = _missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING or "here")]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = tmp_path_factory.mktemp("build")
    torch_folder = Path(torch.__file__).parent
    for command in (
        ["cmake", "-S", SOURCES, "-B", build, f"-DTORCH_DIR={torch_folder}", "-DCMAKE_BUILD_TYPE=Release"],
        ["cmake", "--build", build, "--parallel", "2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stderr
    return build / "imgcls_predict"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    checkpoint = save_model(folder / "m.pt", "mlp", {"image_px": 24, "hidden": [16]}, 24)
    done = CliRunner().invoke(app, ["export", str(checkpoint), "--to", "aoti", "-o", str(folder / "m.pt2"), "-q"])
    assert done.exit_code == 0, done.stderr
    return folder / "m.pt2"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every kind of file that the program decodes, and those that it has to refuse."""
    folder = tmp_path_factory.mktemp("images")
    noise = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    scene = Image.fromarray(noise).resize((180, 120), Image.Resampling.BICUBIC)
    ImageDraw.Draw(scene).ellipse((20, 10, 90, 100), fill=(240, 30, 60))
    scene.save(folder / "wide.jpg", quality=90)
    scene.resize((50, 200)).save(folder / "tall.png")
    scene.resize((16, 12)).save(folder / "small.png")
    scene.convert("L").save(folder / "grey.jpg")
    scene.convert("L").save(folder / "grey.png")
    scene.convert("CMYK").save(folder / "cmyk.jpg")
    scene.convert("P").save(folder / "palette.png")
    scene.convert("1").save(folder / "bits.png")
    clear = scene.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize(scene.size))
    clear.save(folder / "clear.png")
    Image.fromarray((np.arange(180 * 120, dtype=np.uint16) * 3).reshape(120, 180)).save(folder / "deep.png")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        scene.save(folder / f"turned-{orientation}.jpg", exif=exif, quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    scene.save(folder / "turned.png", exif=exif)
    scene.save(folder / "progressive.jpg", progressive=True)
    content = (folder / "wide.jpg").read_bytes()
    (folder / "torn.jpg").write_bytes(content[: len(content) // 2])
    content = (folder / "tall.png").read_bytes()
    (folder / "torn.png").write_bytes(content[: len(content) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_text("no image", encoding="utf-8")
    (folder / 'bär "quoted".jpg').write_bytes((folder / "grey.jpg").read_bytes())
    return [*sorted(path for path in folder.iterdir()), folder / "missing.jpg"]


def test_the_records_are_those_of_predict(program: Path, model: Path, images: list[Path], tmp_path: Path) -> None:
    names = [str(path) for path in images]
    done = subprocess.run([program, model, *names], capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    (tmp_path / "list.txt").write_text("\n".join(names), encoding="utf-8")
    arguments = ["predict", "--files-from", str(tmp_path / "list.txt"), "-m", str(model), "--allow-code", "-f", "jsonl"]
    expected = CliRunner().invoke(app, arguments)
    assert expected.exit_code == 4, expected.stderr
    ours, theirs = ([json.loads(line) for line in text.splitlines()] for text in (done.stdout, expected.stdout))
    assert len(ours) == len(theirs) == len(images)
    for found, wanted in zip(ours, theirs, strict=True):
        assert list(found) == list(wanted)
        assert [found[key] for key in ("input", "status", "model")] == [
            wanted[key] for key in ("input", "status", "model")
        ]
        if found["status"] == "error":
            assert found["error"]["kind"] == wanted["error"]["kind"], found["input"]
            continue
        assert (found["width"], found["height"]) == (wanted["width"], wanted["height"])
        for one, other in zip(found["predictions"], wanted["predictions"], strict=True):
            assert (one["class_id"], one["label"]) == (other["class_id"], other["label"]), found["input"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-3), found["input"]
    assert sum(found["status"] == "ok" for found in ours) == 21


def test_names_come_from_stdin_and_batches_change_nothing(program: Path, model: Path, images: list[Path]) -> None:
    names = [str(path) for path in images]
    whole = subprocess.run([program, model, *names], capture_output=True, text=True, check=False)
    listed = subprocess.run(
        [program, model, "--batch-size", "3", "--threads", "1", "-"],
        input="\n".join(names),
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 4
    for one, other in zip(whole.stdout.splitlines(), listed.stdout.splitlines(), strict=True):
        found, wanted = json.loads(one), json.loads(other)
        assert found["input"] == wanted["input"]
        for left, right in zip(found.get("predictions", []), wanted.get("predictions", []), strict=True):
            assert left["class_id"] == right["class_id"]
            assert left["probability"] == pytest.approx(right["probability"], abs=1e-5)


def test_what_it_can_not_do_it_says(program: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(model.read_bytes()[:3000])
    for arguments, code in (
        ([], 2),
        ([model], 2),
        ([model, "--nonsense", "x.jpg"], 2),
        ([model, "--top-k", "0", "x.jpg"], 2),
        ([tmp_path / "none.pt2", "x.jpg"], 6),
        ([tmp_path / "m.pt2", "x.jpg"], 6),
    ):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith("error: ")
