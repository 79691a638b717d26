"""Numbers in JSON: nine significant digits at most, so that none shows how it was computed (0.8085800000000001)."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from labelled_data import write_classes

from imgcls.host.data_files import json_text

Run = Callable[..., Any]


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from numbers(each)
    elif isinstance(value, list):
        for each in value:
            yield from numbers(each)


def assert_short(text: str | bytes) -> None:
    found = list(numbers(json.loads(text)))
    assert found
    assert [number for number in found if float(f"{number:.9g}") != number] == []


def test_nine_digits_are_a_float32() -> None:
    assert json_text({"a": [0.8085800000000001, 1 / 3, 5e-324, 4.000000000000001e-09], "b": "ü", "c": (1,)}) == (
        '{"a": [0.80858, 0.333333333, 5e-324, 4e-09], "b": "ü", "c": [1]}'
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(float("nan"))
    assert json_text(float("nan"), allow_nan=True) == "NaN"


def test_all_commands(imgcls: Run, tmp_path: Path) -> None:
    data = write_classes(tmp_path / "data", {"cat": 7, "dog": 9})
    settings = ("--data", data, "--device", "cpu", "--set", "data.image_px=8", "-f", "json", "-q")
    for name, seed in (("a", 0), ("b", 1)):
        run = imgcls("train", "--model", "mlp", "--epochs", 3, "--seed", seed, "-o", tmp_path / name, *settings)
        assert run.code == 0, run.stderr
        assert_short(run.stdout)
        assert_short((tmp_path / name / "result.json").read_bytes())
        for line in (tmp_path / name / "metrics.jsonl").read_bytes().splitlines():
            assert_short(line)
    for arguments in (
        ("eval", tmp_path / "a", "--data", data, "--device", "cpu"),
        ("compare", tmp_path / "a", tmp_path / "b"),
        ("predict", "-m", tmp_path / "a", data / "cat"),
    ):
        run = imgcls(*arguments, "-f", "json", "-q")
        assert run.code == 0, run.stderr
        assert_short(run.stdout)


@pytest.mark.slow
def test_search_and_export(imgcls: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("optuna")
    data = write_classes(tmp_path / "data", {"cat": 7, "dog": 9})
    space = tmp_path / "space.toml"
    space.write_text("[optim]\nlr = {low = 1e-4, high = 0.1, log = true}\n")
    tune = ("tune", "--data", data, "--device", "cpu", "--model", "mlp", "--epochs", 1, "--set", "data.image_px=8")
    run = imgcls(*tune, "--space", space, "--trials", 3, "-o", tmp_path / "study", "-f", "json", "-q")
    assert run.code == 0, run.stderr
    assert_short(run.stdout)
    assert_short((tmp_path / "study" / "result.json").read_bytes())
    train = ("train", "--data", data, "--device", "cpu", "--model", "mlp", "--epochs", 1, "--set", "data.image_px=8")
    assert imgcls(*train, "-o", tmp_path / "run", "-q").code == 0
    run = imgcls("export", tmp_path / "run", "-o", tmp_path / "m.onnx", "-f", "json", "-q")
    assert run.code == 0, run.stderr
    assert_short(run.stdout)
