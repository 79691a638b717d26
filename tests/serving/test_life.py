"""How a server lives: readiness, load, shedding, signals, reloads, several processes."""

import contextlib
import json
import os
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from serve_process import noise, serving


def save_slow_model(path):
    """An ONNX file whose answer takes a while: the same large product again and again."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    side, times = 600, 10
    rng = np.random.default_rng(0)
    square = numpy_helper.from_array((rng.normal(size=(side, side)) / side).astype(np.float32), "square")
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        # From the image, or all of it would be computed once, when the file is opened.
        helper.make_node("ReduceMean", ["image"], ["one"], keepdims=0),
        helper.make_node("Mul", ["square", "one"], ["p0"]),
    ]
    for index in range(times):
        nodes.append(helper.make_node("MatMul", [f"p{index}", "square"], [f"p{index + 1}"]))
    nodes += [
        helper.make_node("ReduceMean", [f"p{times}"], ["all"], keepdims=0),
        helper.make_node("Add", ["mean", "all"], ["sum"]),
        helper.make_node("Softmax", ["sum"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes, "slow",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 3])],
        [square],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def slow_arguments(tmp_path_factory):
    """Of a server whose model takes a while for a batch, one image at a time."""
    folder = tmp_path_factory.mktemp("slow")
    save_slow_model(folder / "slow.onnx")
    (folder / "labels.txt").write_text("a\nb\nc\n")
    told = ("--labels", str(folder / "labels.txt"), "--mean", "0,0,0", "--std", "1,1,1", "--size", "8")
    return ("-m", str(folder / "slow.onnx"), *told, "--max-batch", "1")


def test_ready_means_that_an_image_was_classified(served):
    answer = served.get("/readyz")
    assert answer.status == 200
    assert answer.json == {"status": "ready", "models": {"tiny": "ok"}}
    assert served.metric("imgcls_answers_total") >= 1
    assert served.get("/healthz").json == {"status": "ok"}


def test_metrics_count_what_was_done(served, image):
    names = (
        "imgcls_requests_total", "imgcls_request_seconds_count", "imgcls_queue_wait_seconds_count",
        "imgcls_decode_seconds_count", "imgcls_model_seconds_count", "imgcls_batch_images_count",
        "imgcls_answers_total", "imgcls_confidence_count",
    )  # fmt: skip
    before = {name: served.metric(name) for name in names}
    errors = served.metric("imgcls_image_errors_total")
    for _ in range(3):
        served.post("/v1/predict", image)
    served.post("/v1/predict", b"no image")
    after = {name: served.metric(name) for name in names}
    assert all(after[name] - before[name] >= 3 for name in names)
    assert served.metric("imgcls_image_errors_total") == errors + 1
    served.get("/made/up/by/a/client")
    assert "made" not in served.get("/metrics").body.decode()


def test_openapi_describes_every_endpoint(served):
    document = served.get("/openapi.json").json
    paths = ["/v1/predict", "/v1/models", "/v1/reload", "/healthz", "/readyz", "/metrics", "/version"]
    assert [path for path in paths if path not in document["paths"]] == []
    responses = document["paths"]["/v1/predict"]["post"]["responses"]
    assert {"200", "400", "401", "413", "415", "422", "503"} <= set(responses)
    names = set(document["components"]["schemas"])
    assert {"Record", "Prediction", "Document", "Problem"} <= names


def test_beyond_its_queue_a_server_refuses_at_once(slow_arguments, image):
    with serving(*slow_arguments, "--queue", "4") as server:
        with ThreadPoolExecutor(24) as pool:
            answers = list(pool.map(lambda _: server.post("/v1/predict", image), range(24)))
        by_status = {status: [each for each in answers if each.status == status] for status in (200, 503)}
        assert len(by_status[200]) + len(by_status[503]) == 24
        assert len(by_status[200]) >= 4
        assert by_status[503]
        assert all(int(each.headers["retry-after"]) >= 1 for each in by_status[503])
        assert by_status[503][0].json["error"]["kind"] == "overloaded"
        assert server.post("/v1/predict", image).status == 200


def test_what_is_not_answered_in_time_is_refused(slow_arguments, image):
    with serving(*slow_arguments, "--timeout", "0.05") as server, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: server.post("/v1/predict", image), range(16)))
        late = [each for each in answers if each.status == 503]
        assert late
        assert {each.status for each in answers} <= {200, 503}
        assert all("retry-after" in each.headers for each in late)


def test_a_client_that_goes_away_frees_its_place(slow_arguments, image):
    with serving(*slow_arguments, "--queue", "3") as server:
        request = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(image)
        with contextlib.ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(server.connect()).sendall(request + image)
            _wait_until(lambda: server.metric("imgcls_images_in_flight") == 3)
        _wait_until(lambda: server.metric("imgcls_images_in_flight") == 0)
        server.wait_for("status=499")


def test_sigterm_answers_what_is_in_hand_and_exits_with_143(slow_arguments, image):
    with serving(*slow_arguments) as server:
        with ThreadPoolExecutor(12) as pool:
            answers = [pool.submit(server.post, "/v1/predict", image) for _ in range(12)]
            _wait_until(lambda: server.metric("imgcls_images_in_flight") >= 6)
            assert server.stop() == 143
            assert [each.result().status for each in answers] == [200] * 12
        with pytest.raises(OSError, match="refused"):
            server.connect()
        assert "unanswered" not in server.stderr


def test_sigint_exits_with_130(tiny_model):
    with serving("-m", str(tiny_model), "--runtime", "torch") as server:
        assert server.stop(signal.SIGINT) == 130


def test_new_weights_take_over_without_a_dropped_request_and_bad_ones_do_not(tiny_model, image, tmp_path):
    import torch

    model = tmp_path / "m.pt"
    shutil.copy(tiny_model, model)
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-enough-letters\n")
    told = {"Authorization": "Bearer a-token-of-enough-letters"}
    with serving("-m", str(model), "--runtime", "torch", "--token-file", str(tokens)) as server:
        answers, is_over = [], threading.Event()

        def keep_asking():
            while not is_over.is_set():
                answers.append(server.post("/v1/predict", image, **told))

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(keep_asking) for _ in range(4)]
            first = server.post("/v1/predict", image, **told).json
            checkpoint = torch.load(model, weights_only=True)
            for value in checkpoint.values():
                if isinstance(value, dict) and value and all(isinstance(each, torch.Tensor) for each in value.values()):
                    for tensor in value.values():
                        tensor.mul_(2.0)
            torch.save(checkpoint, tmp_path / "new")
            (tmp_path / "new").replace(model)
            reloaded = server.ask("POST", "/v1/reload", b"", told)
            assert reloaded.status == 200, reloaded.body
            second = server.post("/v1/predict", image, **told).json
            assert second["model"] != first["model"]
            assert reloaded.json["models"][0]["model"]["id"] == second["model"]
            model.write_bytes(b"no checkpoint")
            failed = server.ask("POST", "/v1/reload", b"", told)
            assert failed.status == 500
            assert "stay" in failed.json["error"]["message"]
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("reload failed", count=2)
            assert server.post("/v1/predict", image, **told).json["model"] == second["model"]
            is_over.set()
            for each in asking:
                each.result()
        assert {each.status for each in answers} == {200}
        assert {each.json["model"] for each in answers} <= {first["model"], second["model"]}
        by_model = {first["model"]: first["predictions"], second["model"]: second["predictions"]}
        for each in answers:
            for ours, theirs in zip(each.json["predictions"], by_model[each.json["model"]], strict=True):
                assert ours["label"] == theirs["label"]
                assert abs(ours["probability"] - theirs["probability"]) <= 1e-6
        assert server.ask("POST", "/v1/reload", b"").status == 401


def test_reload_over_http_needs_tokens(served):
    assert served.post("/v1/reload", b"").status == 403


def test_several_models_by_name(tiny_model, image, tmp_path):
    other = tmp_path / "other.pt"
    shutil.copy(tiny_model, other)
    with serving("-m", str(tiny_model), "-m", str(other), "--runtime", "torch") as server:
        names = [each["name"] for each in server.get("/v1/models").json["models"]]
        assert names == ["tiny", "other"]
        assert server.post("/v1/predict?model=other", image).status == 200
        one = server.get("/v1/models/other").json
        assert one["classes"] == ["cat", "dog", "owl"]


@pytest.mark.slow
def test_several_processes_share_a_port_and_a_dead_one_is_replaced(tiny_model, image):
    with serving("-m", str(tiny_model), "--runtime", "torch", "--workers", "2") as server:
        pids = [int(each) for each in server.wait_for(r"2 processes: ").rpartition(": ")[2].split(", ")]
        assert {server.post("/v1/predict", image).status for _ in range(8)} == {200}
        assert server.metric("imgcls_answers_total") >= 8
        os.kill(pids[0], signal.SIGKILL)
        server.wait_for(f"process {pids[0]} ended with code -9")
        assert {server.post("/v1/predict", image).status for _ in range(8)} == {200}
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("reloaded", count=1)
        assert server.stop() == 143
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


@pytest.mark.slow
def test_no_request_is_lost_in_twenty_terminations_under_load(tiny_model, tmp_path):
    images = [noise(tmp_path, seed) for seed in range(4)]
    for _ in range(20):
        with serving("-m", str(tiny_model), "--runtime", "torch", "--no-log-requests") as server:
            outcomes, is_over = [], threading.Event()

            def keep_asking(server=server, outcomes=outcomes, is_over=is_over):
                number = 0
                while not is_over.is_set():
                    number += 1
                    outcomes.append(_outcome(server, images[number % 4]))
                    if outcomes[-1] == "refused":
                        return

            threads = [threading.Thread(target=keep_asking) for _ in range(16)]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            assert server.stop() == 143
            is_over.set()
            for thread in threads:
                thread.join()
            assert set(outcomes) <= {200, "refused"}, [each for each in outcomes if each != 200]


def _outcome(server, image):
    """Of a request on a new connection: its status, `refused` where there is no server any more, or what went wrong."""
    try:
        connection = server.connect()
    except OSError:
        return "refused"
    with connection:
        try:
            connection.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                % len(image)
                + image
            )
            answer = b""
            while chunk := connection.recv(1 << 16):
                answer += chunk
        except OSError as exc:
            return repr(exc)
        if not answer:
            return "accepted, and not answered"
        head, _, body = answer.partition(b"\r\n\r\n")
        json.loads(body)
        return int(head.split()[1])


def _wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_request_in_two_pieces_and_two_in_one(served, image):
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(image)
    with served.connect() as connection:
        connection.sendall(head[:20])
        time.sleep(0.05)
        connection.sendall(head[20:] + image[:50])
        time.sleep(0.05)
        connection.sendall(image[50:])
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        connection.sendall((head + image) * 2)
        connection.settimeout(30)
        answer = b""
        while answer.count(b"HTTP/1.1 200") < 2:
            answer += connection.recv(1 << 16)
        connection.shutdown(socket.SHUT_WR)
