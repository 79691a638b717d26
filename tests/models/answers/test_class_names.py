"""Files of class names in each of the forms that people keep."""

import json

import pytest

from imgcls.errors import ModelError
from imgcls.models.answers.class_names import read_class_names

NAMES = ("ant", "bee, honey", "Wespe äöü")
FILES = {
    "labels.txt": "ant\nbee, honey\nWespe äöü\n\n",
    "windows.txt": "\ufeffant\r\nbee, honey\r\nWespe äöü\r\n",
    "list.json": json.dumps(NAMES),
    "id2label.json": json.dumps({"2": "Wespe äöü", "0": "ant", "1": "bee, honey"}),
    "class_to_idx.json": json.dumps({"ant": 0, "Wespe äöü": 2, "bee, honey": 1}),
    "imagenet_class_index.json": json.dumps({str(i): [f"n{i}", name] for i, name in enumerate(NAMES)}),
    "names.csv": 'ant\n"bee, honey"\nWespe äöü\n',
    "ids.csv": 'id,name\n2,Wespe äöü\n0,ant\n1,"bee, honey"\n',
    "no-header.csv": '0,ant\n1,"bee, honey"\n2,Wespe äöü\n',
    "turned.csv": 'label,index\nant,0\n"bee, honey",1\nWespe äöü,2\n',
    # What Python strips from a text, and doesn't take for part of a number.
    "separators.csv": '0,ant\n\x1f1,"bee, honey"\n\x1f2,Wespe äöü\n',
    "ids.tsv": "0\tant\n1\tbee, honey\n2\tWespe äöü\n",
}
USELESS = {
    "empty.txt": ("", "it is empty"),
    "gap.txt": ("ant\n\nbee\n", "line 2 is empty"),
    "torn.json": ('["ant", ', "it is no JSON"),
    "deep.json": ("[" * 100_000, "it is no JSON"),
    "number.json": ("3", "neither a list of names nor an object"),
    "numbers.json": ("[1, 2]", "neither a list of names nor an object"),
    "hole.json": ('{"0": "ant", "2": "bee"}', "its ids are not 0 to 1"),
    "words.json": ('{"a": "ant", "b": "bee"}', "no id beside every name"),
    "twice.csv": ("0,ant\n0,bee\n", "its ids are not 0 to 1"),
}


@pytest.mark.parametrize(("file", "text"), FILES.items(), ids=FILES)
def test_each_form(tmp_path, file, text):
    (tmp_path / file).write_bytes(text.encode())
    assert read_class_names(tmp_path / file) == NAMES


@pytest.mark.parametrize(("file", "content"), USELESS.items(), ids=USELESS)
def test_what_means_nothing(tmp_path, file, content):
    text, reason = content
    (tmp_path / file).write_text(text)
    with pytest.raises(ModelError, match=reason) as caught:
        read_class_names(tmp_path / file)
    assert "one class name per line" in caught.value.hint


def test_unreadable(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    for name, reason in (("none.txt", "No such file"), ("labels.txt", "not UTF-8")):
        with pytest.raises(ModelError, match=reason):
            read_class_names(tmp_path / name)
