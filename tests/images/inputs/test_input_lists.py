"""Lists of inputs, also those that are still being written."""

import io
import os
import threading

import pytest

from imgcls.errors import DataError, UsageError
from imgcls.images.inputs.input_lists import MAX_ENTRY_BYTES, check_stdin_use, read_list


def entries(content: bytes, **options) -> list[str]:
    return list(read_list("-", stdin=io.BytesIO(content), **options))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a.jpg\nb.jpg\n", ["a.jpg", "b.jpg"]),
        (b"a.jpg\r\nb c.jpg\r\n", ["a.jpg", "b c.jpg"]),
        (b"\n\n a.jpg \n\nlast", [" a.jpg ", "last"]),
        (b"\xef\xbb\xbfa.jpg\n", ["a.jpg"]),
        (b"", []),
        (b"\xff.jpg\n", ["\udcff.jpg"]),
    ],
)
def test_lines(content, expected):
    assert entries(content) == expected


def test_nul_separated_entries_may_hold_line_feeds():
    assert entries(b"a\nb.jpg\0 c\r\0\0d", nul=True) == ["a\nb.jpg", " c\r", "d"]


def test_entries_longer_than_a_block():
    long = "x" * 200_000
    assert entries(f"{long}\na\n".encode()) == [long, "a"]
    assert entries(f"{long}\0a\0".encode(), nul=True) == [long, "a"]


@pytest.mark.parametrize("nul", [True, False])
def test_a_list_with_the_other_separator_is_refused(nul):
    line = b"photo.jpg" + (b"\n" if nul else b"\0")
    with pytest.raises(DataError, match=r"entry 1 of the list is longer") as caught:
        entries(line * (MAX_ENTRY_BYTES // len(line) + 2), nul=nul)
    assert "-0" in caught.value.hint


def test_utf16_is_refused():
    with pytest.raises(DataError, match="UTF-16"):
        entries("a.jpg\n".encode("utf-16"))


def test_a_missing_list(tmp_path):
    with pytest.raises(DataError, match=r"missing\.txt: No such file"):
        list(read_list(str(tmp_path / "missing.txt")))


@pytest.mark.parametrize("nul", [True, False])
def test_entries_come_while_the_list_is_still_open(nul):
    separator = b"\0" if nul else b"\n"
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as file:
        found = read_list("-", nul=nul, stdin=file)
        for name in (b"a.jpg", b"b.jpg"):
            os.write(writer, name + separator)
            assert next(found) == name.decode()
        # A name that arrives in two pieces is one name.
        os.write(writer, b"c.")
        threading.Timer(0.05, lambda: (os.write(writer, b"jpg" + separator), os.close(writer))).start()
        assert list(found) == ["c.jpg"]


def test_stdin_has_one_reader():
    check_stdin_use(["-"], None)
    check_stdin_use(["a"], "-")
    for arguments, files_from in ((["-", "-"], None), (["-"], "-")):
        with pytest.raises(UsageError, match="only once"):
            check_stdin_use(arguments, files_from)
