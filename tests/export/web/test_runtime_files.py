import pytest
from node_package import contents, write_archive, write_folder

from imgcls.errors import DeviceError
from imgcls.export.web.runtime_files import RUNTIMES, find_runtime_files


def test_the_package_is_found_in_all_its_forms(tmp_path, monkeypatch):
    files = contents("wasm", "webgpu")
    modules = write_folder(tmp_path / "node_modules" / "onnxruntime-web", files)
    archive = write_archive(tmp_path / "onnxruntime-web-9.8.7.tgz", files)
    unpacked = write_folder(tmp_path / "elsewhere" / "package", files)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    found = [find_runtime_files(told) for told in (None, modules, tmp_path, archive, unpacked, unpacked.parent)]
    assert all(each == found[0] for each in found)
    assert found[0].version == "9.8.7"
    assert found[0].runtimes == RUNTIMES
    assert set(found[0].contents) == {"package.json", *RUNTIMES["wasm"], *RUNTIMES["webgpu"]}


def test_a_version_without_webgpu_serves_too(tmp_path):
    found = find_runtime_files(write_folder(tmp_path, contents("wasm")))
    assert set(found.runtimes) == {"wasm"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "which isn't in"),
        (contents("webgpu"), "lacks ort.wasm.min.mjs, ort-wasm-simd-threaded.mjs"),
        (contents("wasm", name="left-pad"), "is 'left-pad', not onnxruntime-web"),
        ({**contents("wasm"), "package.json": b"{"}, "is no npm package"),
    ],
)
def test_what_is_no_such_package_is_refused(files, message, tmp_path):
    folder = write_folder(tmp_path / "package", files) if files else tmp_path
    with pytest.raises(DeviceError, match=message) as caught:
        find_runtime_files(folder)
    assert "npm pack onnxruntime-web" in caught.value.hint


def test_a_damaged_archive_is_refused(tmp_path):
    path = write_archive(tmp_path / "p.tgz", contents("wasm"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DeviceError, match="can't be read"):
        find_runtime_files(path)
    path.write_bytes(b"no archive")
    with pytest.raises(DeviceError, match="can't be read"):
        find_runtime_files(path)
