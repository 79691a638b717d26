"""Whatever somebody has written to a text file that imgcls reads: it is read, or refused with an error of ours.

Each reader gets 2,000 files: a real one in which bytes were changed, or a real value with another one in some place.
"""

import copy
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_events import epoch_end

from imgcls.errors import ConfigError, DataError, ImgclsError, ModelError
from imgcls.images.inputs.input_lists import read_list
from imgcls.images.transform import Transform
from imgcls.models.answers.calibration import Calibration, ConformalSets
from imgcls.models.answers.class_names import read_class_names
from imgcls.models.model_card import ModelCard
from imgcls.outputs.formats.csv_rows import CSV
from imgcls.outputs.formats.format import Layout, OutputFormat
from imgcls.outputs.formats.json_lines import JSONL
from imgcls.outputs.formats.values import record_of
from imgcls.outputs.manifest import class_shares, describe_holder, last_finished, manifest_path, read_manifest
from imgcls.outputs.record import FileVersion, ImageRecord, Prediction
from imgcls.outputs.summary import Summary
from imgcls.recipes.loading import load_recipe, recipe_text
from imgcls.runs.comparison import compare_runs
from imgcls.runs.metrics import read_metrics, read_result
from imgcls.tuning.space_file import load_space

pytestmark = pytest.mark.slow

thorough = settings(
    max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.just(10**400)
    | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any) -> list[tuple[Any, ...]]:
    """The way to every value in a tree."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [(), *((key, *rest) for key, each in inside for rest in places(each))]


@st.composite
def spoiled_values(draw: st.DrawFn, value: Any) -> Any:
    """The value with one or two others in some place of it, or without some of it."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 2))):
        way = draw(st.sampled_from(places(value)))
        if not way:
            return draw(JUNK)
        parent = value
        for step in way[:-1]:
            parent = parent[step]
        if draw(st.booleans()):
            parent[way[-1]] = draw(JUNK)
        else:
            del parent[way[-1]]
    return value


@st.composite
def spoiled_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """The file with bytes changed, cut out or put in, in up to four places."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(found)))
        length = draw(st.sampled_from([0, 1, 1, 2, 8, 1000]))
        found[start : start + length] = draw(st.binary(max_size=8))
    return bytes(found)


def spoiled_json(value: Any, *, many: bool = False) -> st.SearchStrategy[bytes]:
    """A JSON text of the value, or lines of such texts, spoiled in either way."""
    whole = json.dumps(value).encode() + b"\n"
    text = spoiled_values(value).map(lambda values: json.dumps(values).encode() + b"\n")
    return spoiled_bytes(whole * 3 if many else whole) | text


def refuses(kind: type[ImgclsError] | tuple[type[ImgclsError], ...], read: Callable[[], Any]) -> None:
    """What is read may be read; what isn't is an error of this kind, in one line that can be printed."""
    said = ""
    try:
        read()
    except kind as exc:
        said = exc.message
    assert "\n" not in said
    assert len(said) < 1000
    said.encode("utf-8", "surrogateescape")


METRICS = epoch_end(1).to_dict()
RESULT = {"schema": 1, "test": {"top1": 0.5, "loss": 1.0}, "stopped": None, "epochs": 3}


@thorough
@given(spoiled_json(METRICS, many=True))
def test_metrics(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    refuses(DataError, lambda: read_metrics(tmp_path))


@thorough
@given(spoiled_json(RESULT))
def test_results(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "result.json").write_bytes(content)
    refuses(DataError, lambda: read_result(tmp_path))


@thorough
@given(metrics=spoiled_json(METRICS, many=True), result=spoiled_json(RESULT))
def test_comparison_of_what_was_read(tmp_path: Path, metrics: bytes, result: bytes) -> None:
    (tmp_path / "config.toml").write_text("[train]\nepochs = 3\nwhen = 2026-01-01\nlr = inf\n")
    (tmp_path / "metrics.jsonl").write_bytes(metrics)
    (tmp_path / "result.json").write_bytes(result)

    def compare() -> None:
        json.dumps(compare_runs([tmp_path]).to_dict(), allow_nan=False)

    refuses(DataError, compare)


# In the place of a value: what TOML allows and no recipe holds.
VALUES = (b"1" + b"0" * 400, b"inf", b"nan", b"-0.0", b"true", b"[]", b"{}", b"2026-01-01", b"'\\ud800'")


@st.composite
def with_other_values(draw: st.DrawFn, content: bytes) -> bytes:
    """TOML with another value in one place."""
    found = draw(st.sampled_from(list(re.finditer(rb"(?<![\w.])[-\d][\w.-]*|\"\w+\"", content))))
    return content[: found.start()] + draw(st.sampled_from(VALUES)) + content[found.end() :]


RECIPE = recipe_text(load_recipe()).encode()


@thorough
@given(spoiled_bytes(RECIPE) | with_other_values(RECIPE))
def test_recipes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    refuses((ConfigError, ModelError), lambda: load_recipe(tmp_path / "recipe.toml"))


SPACE = b'[optim]\nlr = {low = 1e-4, high = 0.1, log = true}\nname = ["sgd", "adamw"]\n[train]\nbatch_size = [32, 64]\n'


@thorough
@given(spoiled_bytes(SPACE) | with_other_values(SPACE))
def test_spaces(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "space.toml").write_bytes(content)
    refuses((ConfigError, ModelError), lambda: load_space(tmp_path / "space.toml", load_recipe(resolve=False)))


RECORD = ImageRecord(
    "a.jpg", "tiny@0123456789ab", (Prediction(0, "cat", 0.75), Prediction(1, "dog", 0.25)), 12, 16,
    version=FileVersion(100, 200),
)  # fmt: skip
LAYOUT = Layout({"id": "tiny@0123456789ab"}, 2, settings="abc", classes=("cat", "dog"), is_resumable=True)


def journal_of(format_: OutputFormat) -> bytes:
    encoder = format_.encoder(LAYOUT)
    return encoder.head() + encoder.encode(RECORD) * 3


def reread(format_: OutputFormat, content: bytes) -> None:
    """As a resumed run does: find the records, look them up again, write them anew in both formats."""
    assert format_.reader is not None
    reader = format_.reader(io.BytesIO(content), LAYOUT)
    for span, values in reader.scan():
        assert reader.read(span) == values or values != values
        if values is not None and values["status"] == "ok":
            for written in (JSONL, CSV):
                written.encoder(LAYOUT).encode(record_of(values))
    assert 0 <= reader.num_whole_bytes <= len(content)


LINE = json.loads(journal_of(JSONL).splitlines()[0])


@thorough
@given(spoiled_json(LINE, many=True) | st.binary(max_size=200))
def test_records_in_json_lines(content: bytes) -> None:
    reread(JSONL, content)


@thorough
@given(spoiled_bytes(journal_of(CSV)) | st.binary(max_size=200))
def test_records_in_csv(content: bytes) -> None:
    reread(CSV, content)


MANIFEST = {
    "schema": 1, "status": "finished", "output": "r.jsonl", "started": "2026-01-01T00:00:00Z", "pid": 1, "host": "h",
    "counts": {"count": 3, "ok": 3}, "mean_confidence": 0.5, "model": {"id": "m"},
    "classes": {"cat": {"count": 3, "share": 1.0}}, "last": {"classes": {"cat": {"count": 1, "share": 1.0}}},
}  # fmt: skip


@thorough
@given(spoiled_json(MANIFEST))
def test_manifests(tmp_path: Path, content: bytes) -> None:
    manifest_path(tmp_path / "r.jsonl").write_bytes(content)
    found = read_manifest(tmp_path / "r.jsonl")
    last = last_finished(found)
    json.dumps(last, ensure_ascii=True)
    class_shares(Summary(), last.get("classes", {}))
    describe_holder(tmp_path / "r.jsonl")


CALIBRATION = Calibration("vector", (0.5, 2), (0.1, 0), 9, ConformalSets(0.9, 0.5, 0.1, 5, 9))
CARD = json.loads(
    ModelCard("m", ("cat", "dog"), Transform(8, 8), "0" * 64, metrics={"top1": 0.5}, calibration=CALIBRATION).to_json()
)


@thorough
@given(spoiled_json(CARD))
def test_model_cards(content: bytes) -> None:
    refuses(ModelError, lambda: ModelCard.from_json(content.decode("utf-8", "surrogateescape"), source="m.onnx"))


LABELS = {
    "l.txt": b"cat\ndog\n",
    "l.json": b'{"0": ["n01", "cat"], "1": ["n02", "dog"]}',
    "l.csv": b"id,name\n0,cat\n1,dog\n",
}


@pytest.mark.parametrize("name", LABELS)
@thorough
@given(data=st.data())
def test_labels(tmp_path: Path, name: str, data: st.DataObject) -> None:
    (tmp_path / name).write_bytes(data.draw(spoiled_bytes(LABELS[name]) | st.binary(max_size=100)))
    refuses(ModelError, lambda: read_class_names(tmp_path / name))


@pytest.mark.parametrize("nul", [False, True])
@thorough
@given(data=st.data())
def test_input_lists(nul: bool, data: st.DataObject) -> None:
    content = data.draw(spoiled_bytes(b"a.jpg\0b c.jpg\n\xef\xbb\xbf\xe4.png\r\n\n" * 3) | st.binary(max_size=200))
    refuses(DataError, lambda: list(read_list("-", nul=nul, stdin=io.BytesIO(content))))
