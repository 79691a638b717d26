"""Files of tensors: every flipped bit of what torch.save wrote is noticed."""

import random
import zipfile

import pytest
import torch

from imgcls.errors import ExitCode, ModelError
from imgcls.host.tensor_files import load_tensors, save_tensors

CONTENT = {"weights": {"a": torch.arange(1000.0), "b": torch.arange(24).reshape(2, 3, 4)}, "classes": ["cat", "dog"]}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "tensors.pt"
    save_tensors(CONTENT, path)
    return path


def test_what_is_saved_comes_back(saved):
    for _ in range(2):
        content = load_tensors(saved)
        assert content["classes"] == ["cat", "dog"]
        torch.testing.assert_close(content["weights"], CONTENT["weights"], rtol=0, atol=0)


def test_any_flipped_bit_of_any_tensor_is_an_error(saved):
    whole = saved.read_bytes()
    with zipfile.ZipFile(saved) as archive:
        infos = [info for info in archive.infolist() if "/data/" in info.filename]
        starts = []
        for info in infos:
            with archive.open(info) as part:
                starts.append((whole.index(part.read()), info.file_size))
    assert len(starts) == 2
    draw = random.Random(0)
    for start, size in starts * 10:
        damaged = bytearray(whole)
        damaged[start + draw.randrange(size)] ^= 1 << draw.randrange(8)
        saved.write_bytes(damaged)
        with pytest.raises(ModelError, match="is not what was written") as caught:
            load_tensors(saved)
        assert caught.value.exit_code == ExitCode.MODEL
    saved.write_bytes(whole)
    load_tensors(saved)


def test_files_without_checksums_are_read(tmp_path):
    path = tmp_path / "tensors.pt"
    torch.serialization.set_crc32_options(False)
    try:
        save_tensors(CONTENT, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_tensors(path)["classes"] == ["cat", "dog"]


def test_files_from_before_archives_are_read(tmp_path):
    torch.save(CONTENT, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert load_tensors(tmp_path / "old.pt")["classes"] == ["cat", "dog"]


@pytest.mark.parametrize("name", ["x" * 300 + ".pt", "\0.pt", "missing.pt"])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(ModelError):
        load_tensors(tmp_path / name)


@pytest.mark.unprivileged
def test_a_folder_that_may_not_be_searched(saved):
    saved.parent.chmod(0o600)
    try:
        with pytest.raises(ModelError, match="can't be read: Permission denied"):
            load_tensors(saved)
    finally:
        saved.parent.chmod(0o700)
