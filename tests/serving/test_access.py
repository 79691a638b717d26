"""Who may ask: tokens, names, origins; and what every answer carries."""

import json
import os
import subprocess
import sys
import time

import pytest
from serve_process import serving

TOKEN, OTHER = "a-token-of-enough-letters", "another-token-of-letters"


@pytest.fixture(scope="module")
def guarded(tiny_model, tmp_path_factory):
    """A server that asks for tokens, and their file."""
    path = tmp_path_factory.mktemp("tokens") / "tokens.txt"
    path.write_text(f"# ours\n{TOKEN}\n")
    cors = ("--cors-origin", "https://app.example")
    with serving("-m", str(tiny_model), "--runtime", "torch", "--token-file", str(path), *cors) as server:
        yield server, path


def test_without_a_valid_token_nothing_is_answered(guarded, image):
    server, _path = guarded
    assert server.post("/v1/predict", image, Authorization=f"Bearer {TOKEN}").status == 200
    assert server.post("/v1/predict", image, Authorization=f"bearer {TOKEN}").status == 200
    for header in ("", "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN):
        answer = server.post("/v1/predict", image, Authorization=header)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in answer.body.decode()
    for path in ("/v1/models", "/metrics", "/version", "/openapi.json", "/v2", "/nothing"):
        assert server.get(path).status == 401
    for path in ("/healthz", "/readyz", "/", "/docs", "/page/app.js"):
        assert server.get(path).status == 200
    assert TOKEN not in server.stderr


def test_tokens_are_rotated_by_writing_the_file(guarded, image):
    server, path = guarded
    path.write_text(f"{TOKEN}\n{OTHER}\n")
    time.sleep(1.2)
    assert server.get("/version", Authorization=f"Bearer {OTHER}").status == 200
    assert server.get("/version", Authorization=f"Bearer {TOKEN}").status == 200
    path.write_text(f"{TOKEN}\n")
    time.sleep(1.2)
    assert server.get("/version", Authorization=f"Bearer {OTHER}").status == 401
    path.write_text("")
    time.sleep(1.2)
    assert server.get("/version", Authorization=f"Bearer {TOKEN}").status == 200, "an empty file opens nothing"


def test_pages_of_other_origins_may_not_ask_unless_allowed(guarded, image):
    server, _path = guarded
    told = {"Authorization": f"Bearer {TOKEN}"}
    answer = server.ask("POST", "/v1/predict", image, told | {"Origin": "https://app.example"})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    answer = server.ask("POST", "/v1/predict", image, told | {"Origin": "https://evil.example"})
    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    answer = server.ask("OPTIONS", "/v1/predict", None, asked)
    assert answer.status == 204
    assert "authorization" in answer.headers["access-control-allow-headers"]


def test_a_foreign_name_that_leads_here_is_refused(served, image):
    assert served.post("/v1/predict", image, Host="evil.example").status == 403
    assert served.post("/v1/predict", image, Host="localhost:1").status == 200
    assert served.post("/v1/predict", image, Origin="https://evil.example").status == 403
    assert served.post("/v1/predict", image, Origin="null").status == 403
    own = served.url
    assert served.post("/v1/predict", image, Origin=own).status == 200


def test_every_answer_has_the_headers_of_a_careful_server(served, image):
    for answer in (served.get("/"), served.get("/nothing"), served.post("/v1/predict", image)):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "'unsafe" not in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
        assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--host", "0.0.0.0"], 2, "--token-file FILE"),
        (["--no-auth", "--token-file", "x"], 2, "contradict"),
        (["--token-file", "gone.txt"], 3, "can't be read"),
        (["--keyfile", "k.pem"], 2, "--certfile"),
        (["--certfile", "gone.pem"], 3, "certificate"),
        (["-m", "gone.pt"], 6, "gone.pt"),
        (["--max-batch", "0"], 2, "max-batch"),
    ],
)
def test_what_would_be_unsafe_or_cannot_be_ends_before_anything_is_served(tiny_model, tmp_path, arguments, code, word):
    model = [] if "-m" in arguments else ["-m", str(tiny_model)]
    run = subprocess.run(
        [sys.executable, "-m", "imgcls", "serve", "--port", "0", "--runtime", "torch", *model, *arguments],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
    )  # fmt: skip
    assert run.returncode == code, run.stderr
    assert word in run.stderr
    assert "Traceback" not in run.stderr


def test_a_taken_port_is_an_error_with_a_hint(served, tiny_model):
    port = served.url.rpartition(":")[2]
    run = subprocess.run(
        [sys.executable, "-m", "imgcls", "serve", "--port", port, "-m", str(tiny_model)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 8
    assert "--port" in run.stderr


def test_logs_are_json_without_content_or_tokens(tiny_model, image, tmp_path):
    tokens = tmp_path / "t"
    tokens.write_text(TOKEN + "\n")
    options = ("--runtime", "torch", "--log-format", "json", "--token-file", str(tokens))
    with serving("-m", str(tiny_model), *options) as server:
        server.post("/v1/predict?name=secret.png", image, Authorization=f"Bearer {TOKEN}", X_Request_ID="abc")
        line = json.loads(server.wait_for('"event": "request"'))
        assert line["status"] == 200
        assert line["request_id"] == "abc"
        assert line["images"] == 1
        assert line["path"] == "/v1/predict"
        assert {"time", "level", "ms", "bytes", "client", "model"} <= set(line)
        assert server.stop() == 143
    assert TOKEN not in server.stderr
    assert "secret.png" not in server.stderr


def test_addresses_are_fetched_from_allowed_public_hosts_alone(tiny_model, server):
    url = server.add("/a.png", b"x")
    options = ("--runtime", "torch", "--allow-urls", "*.example.org", "--allow-urls", "127.0.0.1")
    with serving("-m", str(tiny_model), *options) as ours:

        def ask(address):
            return ours.post("/v1/predict", json.dumps({"url": address}).encode(), "application/json")

        assert ask("https://elsewhere.example/a.png").status == 403
        assert ask("file:///etc/passwd").status == 400
        private = ask(url)
        assert private.status == 422
        assert private.json["error"]["kind"] == "download_failed"
        assert "private" in private.json["error"]["message"]
        assert ask("http://127.0.0.1.evil.example/").status == 403
    assert server.requests == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such sockets here")
def test_a_unix_socket_and_a_prefix(tiny_model, image, tmp_path):
    import imgcls

    path = tmp_path / "s"
    options = ("--runtime", "torch", "--uds", str(path), "--root-path", "/pets")
    with serving("-m", str(tiny_model), *options) as server:
        with imgcls.Client("http://localhost/pets", uds=path) as client:
            (record,) = client.predict(image)
            assert record.status == "ok"
        assert server.stop() == 143
    assert not path.exists()


@pytest.mark.slow
def test_tls(tiny_model, image, tmp_path):
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-out", "c.pem",
               "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    try:
        subprocess.run(openssl, cwd=tmp_path, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    import imgcls

    certificate = tmp_path / "c.pem"
    options = ("--certfile", str(certificate), "--keyfile", str(tmp_path / "k.pem"))
    with serving("-m", str(tiny_model), "--runtime", "torch", *options) as server:
        assert server.url.startswith("https://")
        with imgcls.Client(server.url, verify=str(certificate)) as client:
            (record,) = client.predict(image)
            assert record.status == "ok"
