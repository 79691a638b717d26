"""The Open Inference Protocol: what its clients send in JSON and in binary, and what they get."""

import base64
import json
import struct

import pytest
from serve_process import noise


def request_of(images, **more):
    """An inference request in JSON."""
    data = [base64.b64encode(each).decode() for each in images]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(images)], "data": data}
    return json.dumps({"id": "7", "inputs": [tensor], **more}).encode()


def test_the_server_and_its_model_describe_themselves(served):
    assert served.get("/v2").json["name"] == "imgcls"
    assert served.get("/v2/health/live").json == {"live": True}
    assert served.get("/v2/health/ready").json == {"ready": True}
    assert served.get("/v2/models/tiny/ready").json == {"name": "tiny", "ready": True}
    model = served.get("/v2/models/tiny").json
    assert model["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert [each["name"] for each in model["outputs"]] == ["label", "class_id", "probability"]
    assert served.get("/v2/models/nobody").status == 404


def test_json_in_and_out(served, tmp_path):
    images = [noise(tmp_path, seed) for seed in range(3)]
    answer = served.post("/v2/models/tiny/infer", request_of(images, parameters={"top_k": 2}), "application/json")
    assert answer.status == 200
    assert answer.json["id"] == "7"
    tensors = {each["name"]: each for each in answer.json["outputs"]}
    assert tensors["label"]["shape"] == [3, 2]
    for index, image in enumerate(images):
        expected = served.post("/v1/predict?top_k=2", image).json["predictions"]
        part = slice(2 * index, 2 * index + 2)
        assert tensors["label"]["data"][part] == [each["label"] for each in expected]
        assert tensors["class_id"]["data"][part] == [each["class_id"] for each in expected]
        assert tensors["probability"]["data"][part] == pytest.approx([p["probability"] for p in expected], abs=1e-6)


def test_binary_in_and_out(served, image):
    content = struct.pack("<I", len(image)) + image
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(content)}}
    wanted = [{"name": "probability", "parameters": {"binary_data": True}}, {"name": "label"}]
    header = json.dumps({"inputs": [tensor], "outputs": wanted}).encode()
    answer = served.post(
        "/v2/models/tiny/infer", header + content, "application/octet-stream",
        Inference_Header_Content_Length=str(len(header)),
    )  # fmt: skip
    assert answer.status == 200
    length = int(answer.headers["inference-header-content-length"])
    outputs = {each["name"]: each for each in json.loads(answer.body[:length])["outputs"]}
    expected = served.post("/v1/predict", image).json["predictions"]
    values = struct.unpack(f"<{len(expected)}f", answer.body[length:])
    assert values == pytest.approx([each["probability"] for each in expected], abs=1e-6)
    assert outputs["label"]["data"] == [each["label"] for each in expected]


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"inputs": []}', b'{"inputs": [{"name": "image", "datatype": "FP32", "shape": [1], "data": [1]}]}',
     b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": ["aGk="]}]}',
     b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1], "data": []}]}',
     b'{"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [5]}]}'],
)  # fmt: skip
def test_what_is_no_inference_request_is_refused(served, body):
    assert served.post("/v2/models/tiny/infer", body, "application/json").status == 400


def test_an_image_that_cannot_be_read_is_named(served, image):
    answer = served.post("/v2/models/tiny/infer", request_of([image, b"hello"]), "application/json")
    assert answer.status == 422
    assert answer.json["error"]["message"].startswith("image 1: not_an_image")
