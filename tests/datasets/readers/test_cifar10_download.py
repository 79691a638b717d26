"""CIFAR-10's archive: fetched, checked, unpacked whole, or an error that says what to put where."""

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from labelled_data import write_cifar10

from imgcls.datasets.opening import open_dataset
from imgcls.datasets.readers import cifar10
from imgcls.datasets.readers.cifar10_download import fetch_cifar10
from imgcls.errors import DataError
from imgcls.host import cache_folders
from imgcls.images.transform import Transform


def pack(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        tar.add(folder, arcname=cifar10.FOLDER)
    return content.getvalue()


@pytest.fixture
def archive(tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> bytes:
    content = pack(write_cifar10(tmp_path / "published"))
    monkeypatch.setattr(cifar10, "URL", server.add("/cifar-10-python.tar.gz", content))
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", hashlib.md5(content).hexdigest())
    return content


def test_fetched_once_then_found(archive: bytes, server: Any) -> None:
    seen: list[tuple[int, int | None]] = []
    for _ in range(2):
        data = open_dataset(
            "cifar10",
            transform=Transform(32, 32),
            allow_modified=True,
            splits=("test",),
            download_progress=lambda done, total: seen.append((done, total)),
        )
        assert data.test is not None
        assert len(data.test) == 4
    assert len(server.requests) == 1
    assert seen[-1] == (len(archive), len(archive))
    assert [path.name for path in cache_folders.datasets_folder().iterdir()] == [cifar10.FOLDER]


def test_another_archive_is_refused_and_leaves_nothing(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10, "ARCHIVE_MD5", "0" * 32)
    with pytest.raises(DataError, match="md5"):
        fetch_cifar10()
    assert list(cache_folders.datasets_folder().iterdir()) == []


def test_offline_says_what_to_put_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    with pytest.raises(DataError, match="IMGCLS_OFFLINE") as caught:
        open_dataset("cifar10", transform=Transform(32, 32))
    assert str(cache_folders.datasets_folder()) in caught.value.message
    assert cifar10.URL in caught.value.hint
