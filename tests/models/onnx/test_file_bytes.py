import hashlib

import onnx
import pytest
from onnx import numpy_helper
from onnx_files import linear_model, weights

from imgcls.models.onnx import file_bytes
from imgcls.models.onnx.file_bytes import fields, laid_out, stored_digest, without_weights


def laid_out_bytes(model: onnx.ModelProto, **metadata: str) -> bytes:
    return b"".join(laid_out(model.SerializeToString(), metadata))


def test_what_is_laid_out_is_the_same_model_with_metadata_for_every_onnx_tool():
    model = linear_model()
    model.graph.doc_string = "what it is"
    again = onnx.load_from_string(laid_out_bytes(model, name="value", other="ü"))
    onnx.checker.check_model(again)
    assert {entry.key: entry.value for entry in again.metadata_props if entry.key != file_bytes.DIGEST_KEY} == {
        "name": "value",
        "other": "ü",
    }
    del again.metadata_props[:]
    assert again == model


def test_metadata_that_was_there_is_replaced():
    model = linear_model()
    model.metadata_props.add(key="old", value="x")
    keys = [entry.key for entry in onnx.load_from_string(laid_out_bytes(model, new="y")).metadata_props]
    assert keys == ["new", file_bytes.DIGEST_KEY]


@pytest.mark.parametrize("extra", range(0, 140, 9))
def test_large_weights_start_at_a_cache_line(extra):
    model = linear_model()
    model.graph.name = "n" * extra
    content = laid_out_bytes(model, name="value")
    assert content.index(weights().tobytes()) % file_bytes.WRITTEN_ALIGNMENT == 0


def test_weights_are_left_where_they_lie():
    content = laid_out_bytes(linear_model(), name="value")
    small = without_weights(content, "model.onnx")
    assert len(small) < 500 < weights().nbytes
    (tensor,) = onnx.load_from_string(small).graph.initializer
    place = {entry.key: entry.value for entry in tensor.external_data}
    assert place["location"] == "model.onnx"
    start, length = int(place["offset"]), int(place["length"])
    assert content[start : start + length] == weights().tobytes()


def test_weights_that_start_at_an_odd_place_are_copied():
    model = linear_model()
    plain = model.SerializeToString()
    for extra in range(8):
        model.graph.name = "n" * extra
        plain = model.SerializeToString()
        if plain.index(weights().tobytes()) % file_bytes.USED_ALIGNMENT:
            break
    assert onnx.load_from_string(without_weights(plain, "model.onnx")) == model


def test_small_weights_are_copied():
    model = linear_model()
    model.graph.initializer.append(numpy_helper.from_array(weights()[:2], "small"))
    again = onnx.load_from_string(without_weights(laid_out_bytes(model), "model.onnx"))
    assert [bool(tensor.raw_data) for tensor in again.graph.initializer] == [True, False]


def test_the_digest_at_the_end_is_of_all_before_it():
    content = laid_out_bytes(linear_model(), name="value")
    digest, num_bytes = stored_digest(content)
    assert hashlib.sha256(content[:num_bytes]).hexdigest() == digest


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 500, linear_model().SerializeToString()])
def test_other_files_have_no_digest(content):
    assert stored_digest(content) is None


@pytest.mark.parametrize(
    "content", [b"\x0a\xff", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x0b", b"\x00\x01", b"\xff"]
)
def test_what_is_no_message_is_refused(content):
    with pytest.raises(ValueError, match=r"field|number"):
        list(fields(content, 0, len(content)))


def test_a_file_without_a_graph_is_refused():
    with pytest.raises(ValueError, match="0 graphs"):
        laid_out(b"\x08\x08", {})
