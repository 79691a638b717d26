"""`imgcls.Client` and `imgcls predict --server`: the records of the command, whoever classifies."""

import json
import os
import signal
import subprocess
import sys

import pytest
from serve_process import noise, serving
from tiny_model import save_image, save_images

import imgcls
from imgcls.errors import DeviceError, ModelError, UsageError


def predict(*arguments, env=None):
    """The command."""
    return subprocess.run(
        [sys.executable, "-m", "imgcls", "predict", "-q", *map(str, arguments)],
        capture_output=True, text=True, check=False, env=os.environ | (env or {}),
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Images, one of which is torn, and an empty file."""
    folder = tmp_path / "shots"
    save_images(folder, 5)
    (folder / "torn.png").write_bytes((folder / "0000.png").read_bytes()[:50])
    (folder / "empty.png").touch()
    return folder


def test_predict_with_a_server_writes_the_same_file_and_exit_code(served, tiny_model, folder, tmp_path):
    inputs = (folder, tmp_path / "gone.png")
    here = predict(*inputs, "-m", tiny_model, "--runtime", "torch", "-f", "json")
    there = predict(*inputs, "--server", served.url, "-f", "json")
    assert (there.returncode, here.returncode) == (4, 4), there.stderr
    ours, theirs = json.loads(there.stdout), json.loads(here.stdout)
    for record in [*ours["results"], *theirs["results"]]:
        for prediction in record.get("predictions", []):
            prediction["probability"] = round(prediction["probability"], 5)
    assert ours == theirs


def test_resume_goes_on_with_a_server_where_a_run_without_one_ended(served, tiny_model, folder, tmp_path):
    output = tmp_path / "r.jsonl"
    first = predict(folder, "-m", tiny_model, "--runtime", "torch", "-o", output)
    assert first.returncode == 4
    save_image(folder / "new.png", 99)
    before = output.read_text().splitlines()
    again = predict(folder, "--server", served.url, "-o", output, "--resume")
    assert again.returncode == 4, again.stderr
    after = output.read_text().splitlines()
    assert len(after) == len(before) + 1
    good = [line for line in before if '"ok"' in line]
    assert [line for line in after if '"ok"' in line and "new.png" not in line] == good


def test_options_that_a_server_has_decided_are_refused(served, folder):
    run = predict(folder, "--server", served.url, "--fast-decode", "--device", "cpu")
    assert run.returncode == 2
    assert "--device, --fast-decode" in run.stderr


def test_a_model_that_the_server_has_not(served, folder):
    run = predict(folder, "--server", served.url, "-m", "resnet18")
    assert run.returncode == 6
    assert "tiny" in run.stderr


def test_the_client_answers_paths_folders_and_bytes_in_order(served, folder, image, tmp_path):
    with imgcls.Client(served.url, concurrency=3) as client:
        records = client.predict([folder, image, str(tmp_path / "gone.png")], top_k=2)
        assert [record.status for record in records] == ["ok"] * 5 + ["error"] * 2 + ["ok", "error"]
        assert [record.error.kind for record in records if record.error] == [
            "not_an_image", "corrupt_image", "not_found",
        ]  # fmt: skip
        assert all(len(record.predictions) == 2 for record in records if not record.error)
        one = client.predict(folder / "0001.png")
        assert [record.input for record in one] == [str(folder / "0001.png")]
        assert one[0].predictions[:2] == records[1].predictions
        assert one[0].version is not None


def test_a_file_beyond_the_servers_limit_is_a_record(served, tmp_path):
    (tmp_path / "big.png").write_bytes(bytes(2 << 20))
    with imgcls.Client(served.url) as client:
        (record,) = client.predict(tmp_path / "big.png")
    assert record.error.kind == "too_large"


def test_no_server_is_an_error_with_a_hint(refused_url, image):
    with (
        imgcls.Client(refused_url.removesuffix("/file"), patience_sec=0.5) as client,
        pytest.raises(DeviceError, match="no answer from"),
    ):
        client.predict(image)
    with pytest.raises(UsageError):
        imgcls.Client("localhost:8000")


def test_another_server_is_not_taken_for_ours(server):
    server.add("/v1/models", b"<html>")
    run = predict("x.png", "--server", server.url)
    assert run.returncode == 7
    assert "no server of imgcls" in run.stderr


def test_the_client_comes_again_when_it_is_told_to(server, image):
    record = {"input": "x", "status": "ok", "model": "m@1", "width": 1, "height": 1,
              "predictions": [{"class_id": 0, "label": "cat", "probability": 1.0}]}  # fmt: skip
    answers = [(503, {"Retry-After": "1"}, b"{}"), (200, {}, json.dumps(record).encode())]
    with _posting(answers) as url, imgcls.Client(url) as client:
        import time

        began = time.monotonic()
        (answer,) = client.predict(image)
        assert time.monotonic() - began >= 1.0
    assert answer.label == "cat"


def test_a_server_that_changes_its_model_in_the_middle_ends_the_run(tiny_model, tmp_path, folder):
    import shutil

    import torch

    model = tmp_path / "m.pt"
    shutil.copy(tiny_model, model)
    with serving("-m", str(model), "--runtime", "torch") as server:
        from imgcls.images.inputs.source import Source
        from imgcls.inference.pipeline import StreamSettings
        from imgcls.serving.client.remote_model import RemoteModel

        with imgcls.Client(server.url) as client:
            remote = RemoteModel(client)
            sources = [Source("a", content=noise(tmp_path, 1))]
            assert [record.status for record in remote.classify(sources, remote, StreamSettings())] == ["ok"]
            checkpoint = torch.load(model, weights_only=True)
            weights = next(value for value in checkpoint.values() if isinstance(value, dict) and _is_state(value))
            for tensor in weights.values():
                tensor.mul_(1.5)
            torch.save(checkpoint, model)
            server.process.send_signal(signal.SIGHUP)
            server.wait_for("reloaded")
            with pytest.raises(ModelError, match="no longer"):
                list(remote.classify(sources, remote, StreamSettings()))


def _is_state(value):
    import torch

    return bool(value) and all(isinstance(each, torch.Tensor) for each in value.values())


def _posting(answers):
    """A server that answers POST in turn."""
    import contextlib
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args):
            """Nothing."""

    @contextlib.contextmanager
    def running():
        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        server.server_close()
        thread.join()

    return running()
