"""What `from imgcls import ...` offers: pinned names, imported when first used, and working as their docstrings say."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from labelled_data import damage, write_classes
from tiny_model import CLASSES, save_image

import imgcls
from imgcls.errors import DataError, OutputError, UsageError
from imgcls.host.data_files import json_text

NAMES = """
    Classifier Client EvalReport ImageError ImageRecord ImgclsError PredictSettings Prediction Predictor __version__
    evaluate export load_classifier load_recipe train tune
""".split()  # noqa: SIM905 - a list of quoted words is harder to read


def test_the_names_are_these_and_each_is_there():
    assert imgcls.__all__ == NAMES == sorted(NAMES)
    assert dir(imgcls) == NAMES
    for name in NAMES:
        assert getattr(imgcls, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'classify'"):
        _ = imgcls.classify


@pytest.mark.parametrize("name", [name for name in NAMES if name != "__version__"])
def test_each_says_what_it_does(name):
    assert inspect.getdoc(getattr(imgcls, name))


@pytest.mark.parametrize("before", ["", "import imgcls.export.onnx", "from imgcls.export.report import ExportReport"])
def test_export_is_the_function_whatever_was_imported_before(before, tiny_model, tmp_path):
    code = f"""
{before}
import imgcls
from imgcls import export
for write in (export, imgcls.export):
    report = write({str(tiny_model)!r}, {str(tmp_path / "m.pt2")!r}, overwrite=True)
print(report.format, report.written.parity.top1)
import imgcls.export.report as room
print(room.__name__)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == ["torch-export 1.0", "imgcls.export.report"]


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("data") / "animals", {"owl": 3, "cat": 4, "dog": 2})


def test_evaluate_gives_what_the_command_prints(imgcls, tiny_model, animals):
    from imgcls import evaluate

    done: list[tuple[int, int]] = []
    report = evaluate(tiny_model, animals, device="cpu", progress=lambda *now: done.append(now))
    run = imgcls("eval", tiny_model, "--data", animals, "--device", "cpu", "-f", "json")
    assert json.loads(run.stdout) == json.loads(json_text(report.to_dict()))
    assert (report.result.count, done[-1]) == (9, (9, 9))
    assert (report.device, report.runtime, report.precision) == ("cpu", "torch", "fp32")


def test_evaluate_tells_of_damaged_images_and_refuses_them_if_strict(tiny_model, tmp_path):
    from imgcls import evaluate

    folder = write_classes(tmp_path / "animals", {"owl": 3, "cat": 4, "dog": 2})
    damage(next((folder / "cat").iterdir()))
    report = evaluate(str(tiny_model), str(folder), tta="flip")
    assert (report.result.count, len(report.skipped)) == (8, 1)
    with pytest.raises(DataError):
        evaluate(tiny_model, folder, strict=True)


def test_misuse_of_evaluate_is_said(tiny_model, animals):
    from imgcls import evaluate

    with pytest.raises(UsageError, match="unknown split 'validation'"):
        evaluate(tiny_model, animals, split="validation")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="unknown tta 'mirror'"):
        evaluate(tiny_model, animals, tta="mirror")
    with pytest.raises(UsageError, match="batch_size must be at least 1, not 0"):
        evaluate(tiny_model, animals, batch_size=0)
    with pytest.raises(UsageError, match="doesn't say what data it was trained on"):
        evaluate(tiny_model)


def test_misuse_of_export_is_said_before_a_model_is_loaded(tmp_path):
    from imgcls.export.run import export

    (tmp_path / "there.onnx").write_bytes(b"here before")
    (tmp_path / "folder.onnx").mkdir()
    for error, words, output, options in (
        (UsageError, "can't tell the format", "m.bin", {}),
        (UsageError, "unknown precision 'fp8'", "m.onnx", {"precision": "fp8"}),
        (UsageError, "fp16 is for onnx", "m.pt2", {"precision": "fp16"}),
        (UsageError, "int8 needs images", "m.onnx", {"precision": "int8"}),
        (OutputError, "exists already", "there.onnx", {}),
        (OutputError, "is a folder", "folder.onnx", {"overwrite": True}),
    ):
        with pytest.raises(error, match=words):
            export("no such model", tmp_path / output, **options)
    assert (tmp_path / "there.onnx").read_bytes() == b"here before"


def test_a_predictor_of_ones_own(tiny_model, tmp_path):
    from imgcls import Predictor, PredictSettings, load_classifier

    settings = PredictSettings(top_k=1, batch_size=2)
    with Predictor(load_classifier(tiny_model, device="cpu").backend, settings) as predictor:
        records = predictor.predict_batch([save_image(tmp_path / "a.png"), tmp_path / "gone.png"])
    assert [record.status for record in records] == ["ok", "error"]
    assert records[0].label in CLASSES
