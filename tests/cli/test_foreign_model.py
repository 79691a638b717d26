"""`imgcls predict` with ONNX files of other tools, through the command line."""

import json
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx_files import LABELS, some_pixels, write_convolution, write_foreign
from PIL import Image
from typer.testing import CliRunner, Result

from imgcls.cli.app import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("\n".join(LABELS), encoding="utf-8")
    Path("shots").mkdir()
    for index, pixels in enumerate(some_pixels(100)):
        Image.fromarray(pixels).save(Path("shots") / f"{index:03}.png")
    write_foreign(Path("m.onnx"), scale=0.05)
    return tmp_path


def test_all_that_is_told_is_recorded(folder: Path) -> None:
    told = "--labels labels.txt --preset caffe --size 8 --resize pad --pad-colour 114,114,114 --interpolation box"
    result = run("predict", "shots", "-m", "m.onnx", "-o", "out.json", *shlex.split(told), "--activation", "sigmoid")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert answer["model"]["transform"] == {
        "resize_px": 8,
        "crop_px": 8,
        "mean": [104, 117, 123],
        "std": [1, 1, 1],
        "interpolation": "box",
        "resize": "pad",
        "pad_rgb": [114, 114, 114],
        "channels": "bgr",
        "scale": 255,
    }
    assert (answer["model"]["activation"], answer["model"]["multi_label"]) == ("sigmoid", True)
    assert all(record["multi_label"] for record in answer["results"])
    (manifest,) = folder.glob("out*.run.json")
    assert json.loads(manifest.read_text(encoding="utf-8"))["model"] == answer["model"]


def test_every_hint_leads_to_the_next_and_to_an_answer(folder: Path) -> None:
    arguments: list[str] = []
    hints = []
    # What the hint says is added, as a person would; FILE and the choice of a preset are theirs.
    for _ in range(5):
        result = run("predict", "shots/000.png", "-m", "m.onnx", "-f", "json", *arguments)
        if result.exit_code == 0:
            break
        hints.append(result.stderr.partition("hint: ")[2].strip())
        words = shlex.split(hints[-1].replace("FILE", "labels.txt").partition(":")[2] or hints[-1])
        start = next(index for index, word in enumerate(words) if word.startswith("--"))
        arguments += [word.rstrip(",") for word in words[start:] if word != "or"][: 4 if not arguments else 2]
    assert result.exit_code == 0, hints
    assert len(set(hints)) == len(hints) >= 2


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        ("--mean 123.7,116.3,103.5 --std 58.4,57.1,57.4", 2, ("up to 255, not up to 1", "--scale 255")),
        ("--preset imagenet --size 8 --pad-colour 1,2", 3, ("--pad-colour '1,2'",)),
        ("--preset imagenet --size 8 --output-name other", 2, ("no output 'other'", "logits")),
        ("--preset imagenet --size 8 --channels grey", 2, ("3 channels", "leave out --channels")),
    ],
)
def test_what_can_not_be_meant_is_refused(folder: Path, told: str, code: int, words: tuple[str, ...]) -> None:
    result = run("predict", "shots/000.png", "-m", "m.onnx", "--labels", "labels.txt", *shlex.split(told))
    assert (result.exit_code, result.stdout) == (code, "")
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize("to", [("-o", "x.onnx"), ("--to", "checkpoint", "-o", "x.pt")])
def test_export_says_that_it_is_no_network(folder: Path, to: tuple[str, ...]) -> None:
    result = run("export", "m.onnx", *to)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "m.onnx is an exported file already" in result.stderr
    assert not Path(to[-1]).exists()


TOLD = ("--labels", "labels.txt", "--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "-f", "jsonl")


def test_a_run_that_was_cut_ends_with_the_bytes_of_one_in_one_go(folder: Path) -> None:
    write_convolution(Path("m.onnx"))
    arguments = ("predict", "shots", "-m", "m.onnx", *TOLD)
    assert run(*arguments, "-o", "whole.jsonl").exit_code == 0
    # The first ninety in another run: a session that has seen as many answers as one that has seen none.
    moved = [path.rename(folder / path.name) for path in sorted(Path("shots").iterdir())[90:]]
    assert run(*arguments, "-o", "cut.jsonl").exit_code == 0
    for path in moved:
        path.rename(folder / "shots" / path.name)
    resumed = run(*arguments, "-o", "cut.jsonl", "--resume")
    assert resumed.exit_code == 0, resumed.stderr

    def answers(name: str) -> list[object]:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
        return [(record["input"], record["predictions"]) for record in map(json.loads, lines)]

    assert answers("cut.jsonl") == answers("whole.jsonl")


def test_other_weights_in_a_second_file_are_another_model_for_resume(folder: Path) -> None:
    model = onnx.load("m.onnx")
    onnx.save(model, "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    arguments = ("predict", "shots", "-m", "m.onnx", *TOLD, "-o", "out.jsonl")
    assert run(*arguments).exit_code == 0
    before = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    weights = np.frombuffer(Path("m.data").read_bytes(), np.float32)
    Path("m.data").write_bytes((-weights).tobytes())
    resumed = run(*arguments, "--resume")
    assert resumed.exit_code == 0, resumed.stderr
    assert "kept from before" not in resumed.stderr
    after = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {record["model"] for record in before} != {record["model"] for record in after}
