"""What `/v1/predict` takes and answers: the records of the command, whichever way the images come."""

import base64
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from serve_process import form, noise
from tiny_model import save_image


def command_records(model, *paths):
    """What the command says to files."""
    run = subprocess.run(
        [sys.executable, "-m", "imgcls", "predict", "-m", str(model), "-f", "json", "-q", *map(str, paths)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode in (0, 4), run.stderr
    return json.loads(run.stdout)


def assert_same(record, expected):
    """Two records of one image, but for its name; probabilities within 1e-6."""
    names = set(record) - {"input", "predictions"}
    assert {name: record[name] for name in names} == {name: expected[name] for name in names}
    assert [p["label"] for p in record.get("predictions", [])] == [p["label"] for p in expected.get("predictions", [])]
    for ours, theirs in zip(record.get("predictions", []), expected.get("predictions", []), strict=True):
        assert abs(ours["probability"] - theirs["probability"]) <= 1e-6


def test_every_way_to_send_an_image_gives_the_record_of_the_command(served, tiny_model, tmp_path):
    path = save_image(tmp_path / "cat.png", 7)
    content = path.read_bytes()
    expected = command_records(tiny_model, path)["results"][0]
    raw = served.post("/v1/predict", content)
    octets = served.post("/v1/predict", content, "application/octet-stream")
    curl = served.post("/v1/predict", content, "application/x-www-form-urlencoded")
    encoded = json.dumps({"image": base64.b64encode(content).decode(), "name": "cat.png"}).encode()
    as_json = served.post("/v1/predict", encoded, "application/json")
    body, content_type = form(("cat.png", content))
    as_form = served.post("/v1/predict", body, content_type)
    for answer in (raw, octets, curl, as_json, as_form):
        assert answer.status == 200, answer.body
        assert answer.headers["content-type"] == "application/json"
    for record in (raw.json, octets.json, curl.json, as_json.json, as_form.json["results"][0]):
        assert_same(record, expected)
    assert raw.json["input"] == "<body>"
    assert as_json.json["input"] == as_form.json["results"][0]["input"] == "cat.png"


def test_a_form_gives_the_document_of_the_command(served, tiny_model, tmp_path):
    paths = [save_image(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    torn = tmp_path / "torn.png"
    torn.write_bytes(paths[0].read_bytes()[:60])
    expected = command_records(tiny_model, *paths, torn)
    body, content_type = form(*((path.name, path.read_bytes()) for path in (*paths, torn)))
    answer = served.post("/v1/predict", body, content_type)
    assert answer.status == 200
    document = answer.json
    assert set(document) == set(expected)
    assert document["schema"] == 1
    assert document["model"] == expected["model"]
    assert document["summary"] == expected["summary"]
    assert [each["input"] for each in document["results"]] == ["0.png", "1.png", "2.png", "torn.png"]
    for record, theirs in zip(document["results"], expected["results"], strict=True):
        assert_same(record, theirs)
    assert document["results"][3]["error"]["kind"] == "corrupt_image"


def test_a_list_of_images_as_json(served, tmp_path):
    images = [noise(tmp_path, seed) for seed in range(2)]
    value = {"images": [{"image": base64.b64encode(each).decode()} for each in images]}
    answer = served.post("/v1/predict", json.dumps(value).encode(), "application/json")
    assert answer.status == 200
    assert [each["input"] for each in answer.json["results"]] == ["<image 0>", "<image 1>"]
    single = [served.post("/v1/predict", each).json["predictions"] for each in images]
    assert [each["predictions"] for each in answer.json["results"]] == single


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"", "not_an_image"), (b"hello", "not_an_image"), (b"\x89PNG\r\n\x1a\n", "corrupt_image")],
)
def test_what_is_no_image_is_a_record_with_422(served, content, kind):
    answer = served.post("/v1/predict", content)
    assert answer.status == 422
    assert answer.json["status"] == "error"
    assert answer.json["error"]["kind"] == kind
    body, content_type = form(("a.png", content))
    as_form = served.post("/v1/predict", body, content_type)
    assert as_form.status == 422
    assert as_form.json["results"][0]["error"] == answer.json["error"]


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(served):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("1", (5000, 5000)).save(file, "PNG")
    answer = served.post("/v1/predict", file.getvalue())
    assert answer.status == 422
    assert answer.json["error"]["kind"] == "too_large"


def test_top_k_threshold_and_name(served, image):
    answer = served.post("/v1/predict?top_k=2&threshold=0.999&name=a%2Fb.png", image).json
    assert len(answer["predictions"]) == 2
    assert answer["uncertain"] is True
    assert answer["input"] == "a/b.png"
    assert served.post("/v1/predict?threshold=0", image).json["uncertain"] is False
    full = served.post("/v1/predict?top_k=1000", image).json["predictions"]
    assert [each["class_id"] for each in full[:2]] == [each["class_id"] for each in answer["predictions"]]
    assert abs(sum(each["probability"] for each in full) - 1) < 1e-5


@pytest.mark.parametrize(
    "query",
    ["top_k=0", "top_k=x", "top_k=1.5", "threshold=2", "threshold=nan", "tok_k=3", "top_k=1&top_k=2", "name=%ff"],
)
def test_a_query_that_means_nothing_is_refused(served, image, query):
    answer = served.post(f"/v1/predict?{query}", image)
    assert answer.status == (200 if query == "name=%ff" else 400)
    if answer.status == 400:
        assert answer.json["error"]["kind"] == "bad_request"


def test_an_unknown_model_is_not_found(served, image):
    answer = served.post("/v1/predict?model=nobody", image)
    assert answer.status == 404
    assert "tiny" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"image": 3}', b'{"image": "%%%"}', b'{"image": "aGk=", "url": "x"}',
     b'{"images": []}', b'{"path": "/etc/passwd"}', b"[" * 100_000,
     b'{"images": [{"image": "aGk="}], "x": 1}', b'{"a": 1e999}'],
)  # fmt: skip
def test_json_that_holds_no_image_is_refused(served, body):
    assert served.post("/v1/predict", body, "application/json").status == 400


def test_addresses_are_not_fetched_unless_allowed(served, server):
    answer = served.post("/v1/predict", json.dumps({"url": server.add("/a.png")}).encode(), "application/json")
    assert answer.status == 403
    assert server.requests == []


def test_the_answers_of_many_clients_at_once_are_each_their_own(served, tmp_path):
    images = [noise(tmp_path, seed) for seed in range(24)]
    alone = [served.post("/v1/predict", each).json["predictions"] for each in images]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda each: served.post("/v1/predict", each).json["predictions"], images * 4))
    for ours, theirs in zip(together, alone * 4, strict=True):
        assert [p["label"] for p in ours] == [p["label"] for p in theirs]
        assert all(abs(a["probability"] - b["probability"]) <= 1e-6 for a, b in zip(ours, theirs, strict=True))
