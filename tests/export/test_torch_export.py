import json

import pytest
import torch
from exported_models import CLASSES, load_cnn

import imgcls.export.torch_export as torch_export
from imgcls.errors import ModelError
from imgcls.export.parity import outputs_of
from imgcls.export.torch_export import CARD_FILE, export_program
from imgcls.models.exported import open_exported


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    return load_cnn(tmp_path_factory.mktemp("cnn"))


@pytest.fixture(scope="module")
def exported(cnn, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "cnn.pt2"
    return path, export_program(cnn, path)


@pytest.mark.parametrize("count", [1, 3, 7])
def test_plain_torch_runs_the_file_at_any_batch(cnn, exported, count):
    extra = {CARD_FILE: ""}
    program = torch.export.load(exported[0], extra_files=extra)
    assert json.loads(extra[CARD_FILE])["classes"] == list(CLASSES)
    images = torch.rand(count, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(images), cnn.network(images), atol=1e-5, rtol=1e-5)


def test_the_report_says_what_was_compared(exported):
    path, report = exported
    values = json.loads(json.dumps(report.to_dict()))
    assert (values["format"], values["precision"], values["num_pictures"]) == ("torch-export", "fp32", 8)
    assert values["largest_difference"] <= 1e-6
    assert values["size_bytes"] == path.stat().st_size
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_answers_differently_is_not_kept(cnn, tmp_path, monkeypatch):
    def shifted(model):
        honest = outputs_of(model)
        return lambda pixels: honest(pixels) * 1.01

    monkeypatch.setattr(torch_export, "outputs_of", shifted)
    with pytest.raises(ModelError, match="answers differently"):
        export_program(cnn, tmp_path / "m.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_refused(exported, tmp_path):
    path = tmp_path / "m.pt2"
    path.write_bytes(exported[0].read_bytes()[:5000])
    with pytest.raises(ModelError, match="can't be read"):
        open_exported(path, allow_code=True)
