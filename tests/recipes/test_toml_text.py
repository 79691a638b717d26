import tomllib

import pytest

from imgcls.recipes.toml_text import to_toml

ODD_STRINGS = [
    "",
    'say "hi"',
    "C:\\new\\table",
    "two\nlines\t\r",
    "\x00\x1b\x7f",
    "größe 画像 🙂",
    "# no comment",
    "'",
    "a = 1",
]


@pytest.mark.parametrize("text", ODD_STRINGS)
def test_strings_come_back(text):
    tables = {"a": {"value": text, text or "empty": [text]}}
    assert tomllib.loads(to_toml(tables)) == tables


@pytest.mark.parametrize("value", [0, -3, 10**18, 0.1, 1e-30, 1e22, -2.5, 3.0, True, False, [], [[0.5, 24], [1.0, 32]]])
def test_values_come_back_with_their_type(value):
    read = tomllib.loads(to_toml({"a": {"value": value}}))["a"]["value"]
    assert read == value
    assert type(read) is type(value)


def test_tables_in_tables_and_in_arrays_come_back():
    tables = {
        "model": {"arguments": {"widths": [1, 2], "deep er": {"x": 1}}, "name": "cnn", "list": [{"k v": 1}]},
        "b": {},
    }
    assert tomllib.loads(to_toml(tables)) == tables


def test_comments_stand_behind_their_value():
    text = to_toml({"optim": {"lr": 0.1}}, comments={"optim.lr": "step size"})
    assert text == "[optim]\nlr = 0.1  # step size\n"


def test_long_comments_stand_above_it():
    text = to_toml({"optim": {"lr": 0.1}}, comments={"optim.lr": "step " * 30})
    assert tomllib.loads(text) == {"optim": {"lr": 0.1}}
    lines = text.splitlines()
    assert lines[-1] == "lr = 0.1"
    assert " ".join(line.removeprefix("# ") for line in lines[1:-1]) == ("step " * 30).strip()
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("value", [None, "\udc80", object()])
def test_what_toml_cannot_hold_is_an_error(value):
    with pytest.raises(ValueError, match=r"TOML|surrogates"):
        to_toml({"a": {"value": value}})
