import gzip
import hashlib
import json
import re

import numpy as np
import onnx
import pytest
from exported_models import CLASSES, load_cnn, load_mlp
from node_package import contents, write_archive
from PIL import Image

from imgcls.errors import DeviceError, OutputError
from imgcls.export.onnx import to_onnx_bytes
from imgcls.export.web.half_weights import with_half_weights
from imgcls.export.web.site import PAGE, VERSION_MARK, export_site
from imgcls.models.onnx.model import OnnxModel


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    return load_cnn(tmp_path_factory.mktemp("cnn"))


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return write_archive(tmp_path_factory.mktemp("package") / "p.tgz", contents("wasm", "webgpu"))


@pytest.fixture(scope="module")
def site(cnn, package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("www") / "cats"
    return folder, export_site(cnn, folder, runtime=package)


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_has_all_that_the_page_asks_for(site, cnn):
    folder, report = site
    files = files_of(folder)
    told = json.loads(files["site.json"])
    model = OnnxModel(folder / "model.onnx")
    assert (told["model_id"], told["card"]["classes"], told["card"]["precision"]) == (model.id, list(CLASSES), "fp16")
    assert told["card"]["transform"] == cnn.transform.to_dict()
    assert told["model"] == {
        "name": "model.onnx",
        "size": len(files["model.onnx"]),
        "sha256": hashlib.sha256(files["model.onnx"]).hexdigest(),
    }
    for runtime in told["runtimes"].values():
        for each in runtime.values():
            assert len(files[each["name"]]) == each["size"]
    assert gzip.decompress(files[told["runtimes"]["wasm"]["wasm"]["name"]]) == b"// ort-wasm-simd-threaded.wasm"
    assert (report.format, report.output, report.total_bytes) == ("web", folder, sum(map(len, files.values())))
    assert not list(folder.parent.glob(".*"))


def test_the_test_image_has_the_models_own_answers(site):
    folder, _report = site
    told = json.loads((folder / "site.json").read_bytes())
    pixels = np.asarray(Image.open(folder / "check.png"))
    expected = OnnxModel(folder / "model.onnx").probabilities(pixels[None])[0]
    assert [index for index, _ in told["check"]] == list(np.argsort(-expected))
    np.testing.assert_allclose([value for _, value in told["check"]], np.sort(expected)[::-1], atol=1e-6)


def test_every_address_carries_the_version(site):
    folder, _report = site
    files = files_of(folder)
    version = json.loads(files["site.json"])["version"]
    assert not [name for name, content in files.items() if VERSION_MARK in content]
    for name in ("index.html", "app.js", "worker.js"):
        own = re.findall(r'["\'](?:\./)?([\w.]+\.(?:js|css|svg|json))(\?v=\w+)?["\']', files[name].decode())
        assert own
        for file, query in own:
            # The service worker's own address must stay the same, or browsers would keep the old one.
            assert query == ("" if file == "sw.js" else f"?v={version}")
            assert file in files
    assert f'VERSION = "{version}"'.encode() in files["sw.js"]


def test_another_model_is_another_version_and_the_same_the_same(site, cnn, package, tmp_path):
    export_site(cnn, tmp_path / "again", runtime=package)
    assert files_of(tmp_path / "again") == files_of(site[0])
    export_site(load_mlp(tmp_path), tmp_path / "other", runtime=package)
    versions = [json.loads((folder / "site.json").read_bytes())["version"] for folder in (site[0], tmp_path / "other")]
    assert versions[0] != versions[1]


def test_only_a_site_is_replaced_and_only_when_asked(cnn, package, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.txt").write_text("mine")
    with pytest.raises(OutputError, match="something else than a site"):
        export_site(cnn, photos, runtime=package, overwrite=True)
    assert (photos / "a.txt").read_text() == "mine"
    folder = tmp_path / "site"
    folder.mkdir()
    export_site(cnn, folder, runtime=package)
    before = files_of(folder)
    with pytest.raises(OutputError, match="exists already"):
        export_site(cnn, folder, runtime=package)
    (folder / "app.js").write_text("changed")
    export_site(cnn, folder, runtime=package, overwrite=True)
    assert files_of(folder) == before
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="not a folder"):
        export_site(cnn, tmp_path / "file", runtime=package, overwrite=True)


def test_without_the_package_nothing_is_written(cnn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeviceError, match="npm package onnxruntime-web"):
        export_site(cnn, tmp_path / "site")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_what_was_there(cnn, package, tmp_path):
    folder = tmp_path / "site"
    export_site(cnn, folder, runtime=package)
    before = files_of(folder)
    with pytest.raises(Exception, match="no such folder"):
        export_site(cnn, folder, runtime=package, overwrite=True, precision="int8", folder=tmp_path / "none")
    assert files_of(folder) == before
    assert sorted(tmp_path.iterdir()) == [folder]


def test_weights_are_stored_in_half_and_computed_whole(cnn, tmp_path):
    whole = to_onnx_bytes(cnn)
    half = with_half_weights(whole)
    assert len(half) < 0.6 * len(whole)
    proto = onnx.load_from_string(half)
    onnx.checker.check_model(proto, full_check=True)
    kinds = {each.data_type for each in proto.graph.initializer if np.prod(each.dims) >= 64}
    assert kinds == {onnx.TensorProto.FLOAT16}


def test_weights_beyond_half_precision_stay_as_they_are(tmp_path):
    values = np.full(100, 1e6, np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"])],
        "sum",
        [onnx.helper.make_tensor_value_info("x", 1, [100])],
        [onnx.helper.make_tensor_value_info("y", 1, [100])],
        [onnx.numpy_helper.from_array(values, "w")],
    )
    model = onnx.load_from_string(with_half_weights(onnx.helper.make_model(graph).SerializeToString()))
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), values)


def test_the_page_names_no_other_host():
    for path in PAGE.iterdir():
        found = set(re.findall(rb"https?://[^\s\"'<)]+", path.read_bytes()))
        assert found <= {b"http://www.w3.org/2000/svg"}, path
