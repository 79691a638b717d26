"""Digests are remembered, and noticed to be old."""

import hashlib
import json
import os

import pytest

from imgcls.host import cache_folders
from imgcls.host.digests import MAX_REMEMBERED, file_sha256


def store():
    return json.loads((cache_folders.cache_folder() / "digests.json").read_text())


def test_equals_hashlib(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == hashlib.sha256().hexdigest()


def test_remembered_until_the_file_changes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    first = file_sha256(path)
    before = path.stat()
    # Other bytes under the same size and time can't be noticed; that the old digest comes shows that it was remembered.
    path.write_bytes(b"xyz")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_sha256(path) == first
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
    assert file_sha256(path) == hashlib.sha256(b"xyz").hexdigest()
    path.write_bytes(b"longer")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1000))
    assert file_sha256(path) == hashlib.sha256(b"longer").hexdigest()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"x": 1}', '{"x": [1, 2]}', "\ufffd"])
def test_damaged_memory_is_forgotten(tmp_path, content):
    memory = cache_folders.cache_folder() / "digests.json"
    memory.parent.mkdir(parents=True)
    memory.write_text(content, encoding="utf-8")
    (tmp_path / "file").touch()
    assert file_sha256(tmp_path / "file") == hashlib.sha256().hexdigest()
    assert len(store()) == 1


def test_a_digest_that_is_none_is_not_believed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    right = file_sha256(path)
    entries = store()
    for entry in entries.values():
        entry[2] = 7
    (cache_folders.cache_folder() / "digests.json").write_text(json.dumps(entries))
    assert file_sha256(path) == right


def test_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("imgcls.host.digests.MAX_REMEMBERED", 3)
    assert MAX_REMEMBERED > 3
    for number in range(5):
        (tmp_path / str(number)).touch()
        file_sha256(tmp_path / str(number))
    assert [name.rpartition(os.sep)[2] for name in store()] == ["2", "3", "4"]


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"abc")
    monkeypatch.setenv("IMGCLS_CACHE", str(tmp_path / "file"))
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "none")
