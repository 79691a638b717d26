"""Digests are remembered, and noticed to be old."""

import hashlib
import json
import os
import time

import pytest

from imgcls.host import cache_folders
from imgcls.host.digests import MAX_REMEMBERED, SETTLED_NS, file_sha256, forget_digests


def store():
    return json.loads((cache_folders.cache_folder() / "digests.json").read_text())


def test_equals_hashlib(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == hashlib.sha256().hexdigest()


FALSE = "0" * 64


@pytest.fixture
def settled(tmp_path):
    """A file that has not changed for a while, whose digest is remembered wrongly: it shows what is trusted."""
    path = tmp_path / "settled"
    path.write_bytes(b"abc")
    wait_until_settled(path)
    file_sha256(path)
    entries = store()
    for entry in entries.values():
        entry[-1] = FALSE
    (cache_folders.cache_folder() / "digests.json").write_text(json.dumps(entries))
    return path


def wait_until_settled(path):
    while time.time_ns() - path.stat().st_ctime_ns <= SETTLED_NS:
        time.sleep(0.001)


def test_remembered_until_the_file_changes(settled):
    assert file_sha256(settled) == FALSE
    settled.write_bytes(b"longer")
    assert file_sha256(settled) == hashlib.sha256(b"longer").hexdigest()


def test_hashed_anew_when_asked_to(settled):
    right = hashlib.sha256(b"abc").hexdigest()
    assert file_sha256(settled, verify=True) == right
    assert file_sha256(settled) == right


def test_everything_is_forgotten_when_asked_to(settled):
    forget_digests()
    assert file_sha256(settled) == hashlib.sha256(b"abc").hexdigest()
    forget_digests()
    forget_digests()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no time of the inode")
def test_damage_under_the_same_size_and_time_is_noticed(settled):
    before = settled.stat()
    settled.write_bytes(b"xyz")
    os.utime(settled, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_sha256(settled) == hashlib.sha256(b"xyz").hexdigest()


def test_another_file_under_the_same_name_size_and_time_is_noticed(settled):
    before = settled.stat()
    other = settled.with_name("other")
    other.write_bytes(b"xyz")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(settled)
    assert file_sha256(settled) == hashlib.sha256(b"xyz").hexdigest()


def test_a_file_that_may_change_within_the_same_tick_is_not_remembered(tmp_path):
    # In the future, as a network disk's clock may have it: never settled.
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    os.utime(path, ns=(0, time.time_ns() + 3600 * 10**9))
    file_sha256(path)
    assert not (cache_folders.cache_folder() / "digests.json").exists()


def test_what_the_version_before_remembered_is_not_trusted(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    memory = cache_folders.cache_folder() / "digests.json"
    memory.parent.mkdir(parents=True)
    memory.write_text(json.dumps({str(path.resolve()): [3, path.stat().st_mtime_ns, FALSE]}))
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"x": 1}', '{"x": [1, 2]}', "\ufffd"])
def test_damaged_memory_is_forgotten(tmp_path, content):
    memory = cache_folders.cache_folder() / "digests.json"
    memory.parent.mkdir(parents=True)
    memory.write_text(content, encoding="utf-8")
    (tmp_path / "file").touch()
    wait_until_settled(tmp_path / "file")
    assert file_sha256(tmp_path / "file") == hashlib.sha256().hexdigest()
    assert len(store()) == 1


@pytest.mark.parametrize("value", [7, None, "x" * 2000, ["a"]])
def test_an_answer_that_is_none_is_not_believed(settled, value):
    entries = store()
    for entry in entries.values():
        entry[-1] = value
    (cache_folders.cache_folder() / "digests.json").write_text(json.dumps(entries))
    assert file_sha256(settled) == hashlib.sha256(b"abc").hexdigest()


def test_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("imgcls.host.digests.MAX_REMEMBERED", 3)
    assert MAX_REMEMBERED > 3
    for number in range(5):
        (tmp_path / str(number)).touch()
        wait_until_settled(tmp_path / str(number))
        file_sha256(tmp_path / str(number))
    assert [name.rpartition(os.sep)[2] for name in store()] == ["2", "3", "4"]


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"abc")
    monkeypatch.setenv("IMGCLS_CACHE", str(tmp_path / "file"))
    assert file_sha256(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "none")
