import contextlib
import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgcls.host.data_files import (
    MAX_DEPTH,
    MAX_TOML_BYTES,
    MalformedError,
    parse_json,
    parse_toml,
    read_json_file,
    read_toml_file,
)  # fmt: skip

DEEP = 100_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00a", "is not UTF-8 text: invalid start byte at byte 0"),
        (b"a = ", "is not valid TOML: "),
        (b"a = " + b"[" * DEEP + b"]" * DEEP, "nested more than"),
        (b"a = " + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested more than"),
        (b"[" + b".".join([b"a"] * DEEP) + b"]", "nested more than"),
        (b"a = " + b"9" * 10_000, "is not valid TOML: "),
        (b"#" * (MAX_TOML_BYTES + 1), "is larger than 1 MiB"),
        (b"\x00", "is not valid TOML: "),
    ],
)
def test_a_toml_file_that_is_none_says_why(tmp_path, content, said):
    path = tmp_path / "recipe.toml"
    path.write_bytes(content)
    with pytest.raises(MalformedError, match=said):
        read_toml_file(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x80", "is not UTF-8 text"),
        (b"", "is not valid JSON"),
        (b"[" * DEEP + b"]" * DEEP, "nested more than"),
        (b'{"a":' * DEEP + b"1" + b"}" * DEEP, "nested more than"),
        (b"9" * 10_000, "is not valid JSON"),
        (rb'["\ud800"]', "holds a string that is not text"),
        (rb'{"\udfff": 1}', "holds a string that is not text"),
    ],
)
def test_a_json_file_that_is_none_says_why(tmp_path, content, said):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(MalformedError, match=said):
        read_json_file(path)


def test_a_file_of_any_size_is_read_up_to_the_limit(tmp_path):
    path = tmp_path / "big.json"
    path.write_bytes(b" " * 11)
    with pytest.raises(MalformedError, match="larger than"):
        read_json_file(path, max_bytes=10)


def test_what_is_missing_is_the_callers_to_tell(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_toml_file(tmp_path / "none.toml")


@settings(max_examples=2000, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_what_python_writes_as_json_comes_back(value):
    assert parse_json(json.dumps(value)) == value


@settings(max_examples=2000, deadline=None)
@given(st.text(alphabet="[]{}\"'\\=.,#\n ab1-+:e_\ud800\x00", max_size=60))
def test_any_text_is_read_or_refused(text):
    for parse in (parse_toml, parse_json):
        with contextlib.suppress(MalformedError):
            parse(text)
    try:
        expected = tomllib.loads(text)
    except ValueError:
        return
    assert parse_toml(text) == expected
