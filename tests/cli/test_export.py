"""`imgcls export`, and predict and eval on what it writes, through the command line."""

import json
from pathlib import Path

import pytest
import torch
from exported_models import CLASSES, load_mlp, save_model
from labelled_data import write_classes
from onnx_files import LABELS, some_pixels, write_foreign, write_own
from PIL import Image
from typer.testing import CliRunner, Result

from imgcls.cli.app import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, code: int, *words: str) -> None:
    """Check an error: its exit code, its words on stderr with a hint, and nothing on stdout."""
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert "error: " in result.stderr
    assert "\n  hint: " in result.stderr
    for word in words:
        assert word in result.stderr


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Result]:
    """A checkpoint, its ONNX file, and how the export ended."""
    folder = tmp_path_factory.mktemp("exported")
    checkpoint = load_mlp(folder).weights_path
    return checkpoint, folder / "mlp.onnx", run("export", checkpoint, "-o", folder / "mlp.onnx", "-f", "json")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    (tmp_path / "labels.txt").write_text("\n".join(LABELS) + "\n", encoding="utf-8")
    Image.fromarray(some_pixels(1)[0]).save(tmp_path / "p.png")
    return write_foreign(tmp_path / "m.onnx", scale=0.05)


def test_the_answer_is_json_and_messages_are_elsewhere(exported: tuple[Path, Path, Result]) -> None:
    _checkpoint, path, result = exported
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["schema"] == 1
    assert report["output"] == str(path)
    assert report["largest_difference"] < 1e-5
    assert "comparing" in result.stderr


def test_predict_answers_the_same_with_the_file(exported: tuple[Path, Path, Result], tmp_path: Path) -> None:
    checkpoint, path, _result = exported
    images = write_classes(tmp_path / "images", {"cat": 3, "dog": 2})
    (images / "torn.png").write_bytes(b"\x89PNG\r\n")
    answers = [run("predict", images, "-m", model, "-f", "json", "-k", 3) for model in (checkpoint, path)]
    assert [answer.exit_code for answer in answers] == [4, 4]
    torch_answer, onnx_answer = (json.loads(answer.stdout) for answer in answers)
    assert onnx_answer["summary"] == torch_answer["summary"]
    assert onnx_answer["model"]["exported_from"] == torch_answer["model"]["weights_sha256"]
    for found, expected in zip(onnx_answer["results"], torch_answer["results"], strict=True):
        assert (found["input"], found["status"]) == (expected["input"], expected["status"])
        for one, other in zip(found.get("predictions", ()), expected.get("predictions", ()), strict=True):
            assert one["label"] == other["label"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_a_run_with_the_file_is_resumed(exported: tuple[Path, Path, Result], tmp_path: Path) -> None:
    images = write_classes(tmp_path / "images", {"cat": 3})
    out = tmp_path / "out.jsonl"
    arguments = ("predict", images, "-m", exported[1], "-f", "jsonl", "-o", out)
    assert run(*arguments).exit_code == 0
    (images / "cat" / "more.png").write_bytes((images / "cat" / "000.png").read_bytes())
    assert run(*arguments, "--resume").exit_code == 0
    assert len(out.read_text(encoding="utf-8").splitlines()) == 4
    assert json.loads((tmp_path / "out.jsonl.run.json").read_text(encoding="utf-8"))["device"] == "cpu"


def test_eval_counts_the_same_with_the_file(exported: tuple[Path, Path, Result], tmp_path: Path) -> None:
    checkpoint, path, _result = exported
    data = write_classes(tmp_path / "data", dict.fromkeys(CLASSES, 7))
    reports = [
        json.loads(run("eval", *argument, "--data", data, "-f", "json").stdout)
        for argument in ((checkpoint,), (path,), ("-m", path))
    ]
    assert [report["count"] for report in reports] == [21, 21, 21]
    for key in ("correct", "top1", "top5", "confusion"):
        assert reports[1][key] == reports[2][key] == reports[0][key]
    assert reports[1]["loss"] == pytest.approx(reports[0]["loss"], abs=1e-5)
    assert reports[1]["model"]["name"] == "mlp"


def test_the_table_shows_every_variant(exported: tuple[Path, Path, Result], tmp_path: Path) -> None:
    images = write_classes(tmp_path / "images", {"cat": 3})
    result = run("export", exported[0], "-o", tmp_path / "h.onnx", "--fp16", "--calibrate", images, "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "largest difference of any probability" in result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines()[-3:]] == ["torch", "fp32", "fp16"]


def test_torch_export_through_the_command_line(tmp_path: Path) -> None:
    checkpoint = save_model(tmp_path / "m.pt", "mlp", {"image_px": 8, "hidden": [4]}, 8)
    result = run("export", checkpoint, "-o", tmp_path / "m.pt2")
    assert result.exit_code == 0, result.stderr
    assert "torch-export" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("-o", "m.onnx", "--to", "torchscript"), 2, ("deprecated", "--to torch-export")),
        (("-o", "m.bin"), 2, ("can't tell the format",)),
        (("-o", "m.pt2", "--to", "onnx"), 2, (".onnx files", "-o m.onnx")),
        (("-o", "m.onnx", "--fp16", "--int8"), 2, ("exclude",)),
        (("-o", "m.onnx", "--int8"), 2, ("--calibrate DIR",)),
        (("-o", "m.pt2", "--fp16"), 2, ("fp16 is for onnx",)),
        (("-o", "there.onnx"), 8, ("exists already", "--overwrite")),
        (("-o", "folder.onnx"), 8, ("is a folder",)),
        (("-o", "m.onnx", "--calibrate", "none"), 5, ("no such folder",)),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_what_can_not_be_meant_is_refused_before_the_work(
    exported: tuple[Path, Path, Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    words: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.onnx").write_bytes(b"here before")
    Path("folder.onnx").mkdir()
    refused(run("export", exported[0], *arguments), code, *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.onnx", "there.onnx"]
    assert Path("there.onnx").read_bytes() == b"here before"


def test_models_that_can_not_be_exported(tmp_path: Path) -> None:
    refused(run("export", tmp_path / "none.pt", "-o", tmp_path / "m.onnx"), 6, "no such checkpoint")
    own = write_own(tmp_path / "own.onnx")
    refused(run("export", own, "-o", tmp_path / "m.onnx"), 2, "exported file already")


def test_a_folder_that_can_not_be_written(exported: tuple[Path, Path, Result], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    refused(run("export", exported[0], "-o", tmp_path / "file" / "m.onnx"), 8, "can't write")


def test_a_foreign_file_with_labels_and_preset(foreign: Path) -> None:
    labels, image = foreign.with_name("labels.txt"), foreign.with_name("p.png")
    told = ("--labels", labels, "--mean", "0.4,0.5,0.6", "--std", "0.2,0.3,0.4", "--size", "8")
    result = run("predict", image, "-m", foreign, *told, "-f", "json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["model"]["transform"]["crop_px"] == 8
    assert answer["results"][0]["predictions"][0]["label"] in LABELS
    with_preset = run("predict", image, "-m", foreign, "--labels", labels, "--preset", "imagenet", "--size", "9,8")
    assert with_preset.exit_code == 0, with_preset.stderr


@pytest.mark.parametrize(
    ("told", "code", "words"),
    [
        ((), 2, ("class names and transform", "--labels")),
        (("--labels", "labels.txt"), 2, ("its transform", "--preset imagenet")),
        (("--preset", "imagenet"), 2, ("its class names",)),
        (("--labels", "labels.txt", "--preset", "imagenet"), 2, ("8 x 8, not 224 x 224", "--size 8")),
        (("--labels", "labels.txt", "--mean", "0,0,0"), 2, ("lacks --std", "--preset")),
        (("--labels", "none.txt", "--preset", "imagenet"), 6, ("can't read the labels",)),
        (("--labels", "gap.txt", "--preset", "imagenet"), 6, ("line 2 is empty",)),
        (("--labels", "two.txt", "--preset", "imagenet", "--size", "8"), 6, ("12 outputs, but 2 labels",)),
        (("--labels", "labels.txt", "--preset", "imagenet", "--size", "x"), 3, ("--size 'x'",)),
        (("--labels", "labels.txt", "--preset", "imagenet", "--mean", "1,2"), 3, ("three numbers",)),
        (("--labels", "labels.txt", "--preset", "imagenet", "--std", "1,0,1"), 3, ("out of range",)),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else str(value),
)
def test_what_a_foreign_file_needs_is_said(
    foreign: Path, monkeypatch: pytest.MonkeyPatch, told: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(foreign.parent)
    Path("gap.txt").write_text("a\n\nb\n", encoding="utf-8")
    Path("two.txt").write_text("a\nb\n", encoding="utf-8")
    refused(run("predict", "p.png", "-m", "m.onnx", *told), code, *words)


def test_labels_go_with_onnx_files_and_other_weights_only(exported: tuple[Path, Path, Result], foreign: Path) -> None:
    refused(
        run("predict", foreign.with_name("p.png"), "-m", exported[0], "--labels", foreign.with_name("labels.txt")),
        2,
        "--labels goes with --weights",
    )


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = write_own(tmp_path / "m.onnx")
    content = bytearray(path.read_bytes())
    content[5000] ^= 255
    path.write_bytes(content)
    refused(run("predict", "p.png", "-m", path), 6, "changed or damaged")
    refused(run("eval", path, "--data", tmp_path), 6, "changed or damaged")


def test_a_torch_export_program_is_called_what_it_is(tmp_path: Path) -> None:
    checkpoint = save_model(tmp_path / "m.pt", "mlp", {"image_px": 8, "hidden": [4]}, 8)
    assert run("export", checkpoint, "-o", tmp_path / "m.pt2").exit_code == 0
    renamed = tmp_path / "renamed.pt"
    renamed.write_bytes((tmp_path / "m.pt2").read_bytes())
    for path in (tmp_path / "m.pt2", renamed):
        for arguments in (("predict", "p.png", "-m", path), ("eval", path, "--data", tmp_path)):
            refused(run(*arguments), 6, "is a torch.export program of mlp@", "could run code", "imgcls export MODEL -o")
    refused(run("predict", "p.png", "-m", tmp_path / "m.pt2"), 6, "--allow-code")
    resnet = run("predict", "p.png", "-m", "resnet18", "--weights", tmp_path / "m.pt2")
    refused(resnet, 6, "is a torch.export program of mlp@")
    torch.export.save(
        torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), tmp_path / "of somebody else.pt2"
    )
    refused(run("predict", "p.png", "-m", tmp_path / "of somebody else.pt2"), 6, "was not written by imgcls")


def test_a_torch_export_program_answers_where_its_code_is_allowed(tmp_path: Path) -> None:
    checkpoint = save_model(tmp_path / "m.pt", "mlp", {"image_px": 8, "hidden": [4]}, 8)
    program = tmp_path / "m.pt2"
    assert run("export", checkpoint, "-o", program).exit_code == 0
    images = write_classes(tmp_path / "images", {"cat": 3, "dog": 2})
    answers = [
        run("predict", images, "-m", model, "-f", "json", "-k", 3, "--runtime", runtime, "--allow-code")
        for model, runtime in ((checkpoint, "torch"), (program, "auto"))
    ]
    own, found = (json.loads(answer.stdout) for answer in answers)
    assert found["model"]["runtime"] == "torch-export"
    for one, other in zip(found["results"], own["results"], strict=True):
        assert [each["label"] for each in one["predictions"]] == [each["label"] for each in other["predictions"]]
    measured = run("eval", program, "--data", images, "--allow-code", "-f", "json")
    expected = run("eval", checkpoint, "--data", images, "--runtime", "torch", "-f", "json")
    assert measured.exit_code == 0, measured.stderr
    assert json.loads(measured.stdout)["correct"] == json.loads(expected.stdout)["correct"]
    refused(run("predict", images, "-m", program, "--allow-code", "--precision", "bf16"), 2, "fixed in the file")
    refused(run("predict", images, "-m", program, "--allow-code", "--device", "cuda"), 7, "runs on the CPU")
