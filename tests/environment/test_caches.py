import hashlib
from dataclasses import replace

import pytest

from imgcls.environment import caches
from imgcls.environment.caches import ALEXNET_FILE, check_cache, check_disk, probe_folder, probe_offline
from imgcls.environment.report import CacheResult, Status

EMPTY = CacheResult("datasets", "nowhere", False, True, "", 0, 0.0, (), None)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGCLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("IMGCLS_OFFLINE", raising=False)


@pytest.fixture
def bundled(tmp_path):
    folder = tmp_path / "bundled"
    folder.mkdir()
    (folder / "cifar10-cnn.pt").touch()
    return folder


def test_the_file_name_is_torchvisions():
    from imgcls.models.families.torchvision import ALEXNET

    assert ALEXNET.url.endswith(f"/{ALEXNET_FILE}")
    assert f"-{caches.ALEXNET_DIGITS}." in ALEXNET_FILE


def test_weights_are_listed_by_name_and_counted(tmp_path):
    (tmp_path / "resnet18-f37072fd.pth").write_bytes(b"\0" * 2**20)
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"\0" * 2**20)
    (tmp_path / "notes.txt").write_text("")
    result = probe_folder("weights", tmp_path)
    assert result.names == ("alexnet-owt-7be5be79.pth", "resnet18-f37072fd.pth")
    assert (result.files, result.mib, result.exists, result.writable) == (3, 2.0, True, True)
    check = check_cache(result)
    assert check.status is Status.OK
    assert "3 files, 2.0 MiB: alexnet-owt-7be5be79.pth, resnet18-f37072fd.pth" in check.detail


def test_data_sets_are_listed_by_folder(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"\0" * 2**19)
    result = probe_folder("datasets", tmp_path)
    assert (result.names, result.files, result.mib) == (("cifar-10-batches-py",), 1, 0.5)


def test_a_folder_that_is_not_there_yet_is_no_fault_and_is_not_made(tmp_path):
    folder = tmp_path / "a" / "b"
    check = check_cache(probe_folder("cache", folder))
    assert check.status is Status.OK
    assert "not there yet" in check.detail
    assert not (tmp_path / "a").exists()


def test_trying_to_write_leaves_no_trace(tmp_path):
    probe_folder("cache", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_a_fault(tmp_path):
    (tmp_path / "file").touch()
    check = check_cache(probe_folder("weights", tmp_path / "file" / "hub"))
    assert check.status is Status.FAULT
    assert "is a file, not a folder" in check.detail
    assert "TORCH_HOME" in check.advice


@pytest.mark.unprivileged
def test_a_folder_without_permission_is_a_fault_when_empty_and_a_warning_when_of_use(tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert check_cache(probe_folder("weights", tmp_path)).status is Status.FAULT
        tmp_path.chmod(0o700)
        (tmp_path / "alexnet.pth").touch()
        tmp_path.chmod(0o500)
        assert check_cache(probe_folder("weights", tmp_path)).status is Status.WARNING
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_that_refuses_a_file(tmp_path, monkeypatch):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(caches.tempfile, "TemporaryDirectory", refuse)
    empty = check_cache(probe_folder("cache", tmp_path))
    (tmp_path / "something").touch()
    used = check_cache(probe_folder("cache", tmp_path))
    assert (empty.status, used.status) == (Status.FAULT, Status.WARNING)
    assert "Permission denied" in empty.detail
    assert "IMGCLS_CACHE" in empty.advice


def test_little_room_is_a_warning(tmp_path, monkeypatch):
    result = probe_folder("cache", tmp_path)
    assert check_disk((result,)).status is Status.OK or result.free_mib < caches.LOW_DISK_MIB
    monkeypatch.setattr(caches, "LOW_DISK_MIB", float("inf"))
    assert check_disk((result,)).status is Status.WARNING


def test_offline_without_alexnet_still_has_the_bundled_model(tmp_path, bundled):
    result, check = probe_offline(probe_folder("weights", tmp_path / "weights"), EMPTY, bundled_folder=bundled)
    assert (result.bundled, result.alexnet, result.weights, result.forced) == (("cifar10-cnn",), False, (), False)
    assert check.status is Status.OK
    assert "imgcls predict" in check.advice


def test_offline_by_force_without_alexnet_is_a_warning(tmp_path, bundled, monkeypatch):
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    result, check = probe_offline(probe_folder("weights", tmp_path / "weights"), EMPTY, bundled_folder=bundled)
    assert result.forced
    assert check.status is Status.WARNING
    assert ALEXNET_FILE in check.advice
    assert "-m cifar10-cnn" in check.advice


def test_offline_with_alexnet_and_another(tmp_path, bundled, monkeypatch):
    content = b"weights"
    monkeypatch.setattr(caches, "ALEXNET_DIGITS", hashlib.sha256(content).hexdigest()[:8])
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / ALEXNET_FILE).write_bytes(content)
    (weights / "resnet18-f37072fd.pth").touch()
    datasets = replace(EMPTY, names=("cifar-10-batches-py",))
    result, check = probe_offline(probe_folder("weights", weights), datasets, bundled_folder=bundled)
    assert (result.alexnet, result.weights) == (True, ("resnet18-f37072fd.pth",))
    assert result.datasets == ("cifar-10-batches-py",)
    assert "data sets cifar-10-batches-py" in check.detail
    assert (check.status, check.advice) == (Status.OK, "")
    assert "alexnet yes" in check.detail


def test_a_damaged_alexnet_is_not_counted_as_here(tmp_path, bundled):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / ALEXNET_FILE).write_bytes(b"cut short")
    result, check = probe_offline(probe_folder("weights", weights), EMPTY, bundled_folder=bundled)
    assert not result.alexnet
    assert check.status is Status.WARNING
    assert "damaged" in check.detail
    assert str(weights / ALEXNET_FILE) in check.advice


def test_a_package_without_its_model_is_a_fault(tmp_path):
    (tmp_path / "bundled").mkdir()
    _, check = probe_offline(probe_folder("weights", tmp_path), EMPTY, bundled_folder=tmp_path / "bundled")
    assert check.status is Status.FAULT
    assert "reinstall" in check.advice
