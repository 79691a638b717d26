"""Limits hold while a request comes in; whatever comes, there is a status, and the process lives on."""

import contextlib
import io
import os
import socket
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from serve_process import form, serving

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


def status_of(answer):
    """HTTP's status of a raw answer."""
    assert answer.startswith(b"HTTP/1.1 "), answer[:100]
    return int(answer.split(b" ", 2)[1])


def alive(served, image):
    """Whether an ordinary request is answered."""
    return served.post("/v1/predict", image).status == 200


def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(served, image):
    with served.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 99999999\r\n\r\n")
        assert status_of(connection.recv(1 << 16)) == 413
    assert alive(served, image)


def test_a_chunked_body_is_cut_off_at_the_limit(served, image):
    with served.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        answer = b""
        with contextlib.suppress(OSError):
            for _ in range(64):
                connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        with contextlib.suppress(OSError):
            answer = connection.recv(1 << 16)
        assert status_of(answer) == 413
    assert alive(served, image)


def test_the_answer_arrives_although_the_client_is_still_sending(served):
    body = bytes(8 << 20)
    answer = served.post("/v1/predict", body)
    assert answer.status == 413
    assert "1 MiB" in answer.json["error"]["message"]


def test_slow_headers_end_with_408(served, image):
    began = time.monotonic()
    with served.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        answer = b""
        with contextlib.suppress(OSError):
            while not answer:
                connection.sendall(b"x")
                connection.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    answer = connection.recv(1 << 16)
    assert status_of(answer) == 408
    assert time.monotonic() - began < 60
    assert alive(served, image)


def until_closed(connection: socket.socket) -> bytes:
    """All that the server sends before it closes the connection."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_a_connection_that_says_nothing_is_closed(served):
    with served.connect() as connection:
        assert status_of(until_closed(connection)) == 408


def test_slow_bodies_end_with_408(served, image):
    with served.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\nx")
        assert status_of(until_closed(connection)) == 408
    assert alive(served, image)


def test_headers_without_end_are_refused(served, image):
    many = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(100))
    assert status_of(served.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n" + many)) == 431
    assert status_of(served.raw(b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n")) == 431
    assert alive(served, image)


@pytest.mark.parametrize(
    "request_line",
    [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
     b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
     b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
     b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n", b"CONNECT localhost:80 HTTP/1.1\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_request_gets_400(served, image, request_line):
    with served.connect() as connection:
        connection.sendall(request_line)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(1 << 16):
                answer += chunk
    assert answer == b"" or status_of(answer) in (400, 404, 405)
    assert alive(served, image)


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/page/../../../etc/passwd", "/page/%2e%2e%2f%2e%2e%2fetc/passwd", "/page/app.js%00.html",
     "/v1/models/..%2f..%2fetc%2fpasswd", "//etc/passwd", "/v1/predict/", "/%ff", "/page/__init__.py"],
)  # fmt: skip
def test_paths_lead_nowhere(served, path):
    answer = served.get(path)
    assert answer.status in (400, 404, 405, 307)
    assert b"root:" not in answer.body


def test_request_ids_and_names_are_never_echoed_into_headers(served, image):
    answer = served.post("/v1/predict", image, X_Request_ID="abc-1.2_3")
    assert answer.headers["x-request-id"] == "abc-1.2_3"
    answer = served.post("/v1/predict?name=a%0d%0aSet-Cookie:%20b", image, X_Request_ID="a b")
    assert answer.headers["x-request-id"] != "a b"
    assert "set-cookie" not in answer.headers
    assert answer.json["input"] == "a__Set-Cookie: b"


def test_bombs_cost_nothing(served, image):
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "PNG")
    began = time.monotonic()
    body, content_type = form(*[(f"{n}.png", file.getvalue()) for n in range(4)])
    answer = served.post("/v1/predict", body, content_type)
    assert answer.status == 200
    assert {each["error"]["kind"] for each in answer.json["results"]} == {"too_large"}
    assert time.monotonic() - began < 30
    assert served.post("/v1/predict", image, Content_Encoding="gzip").status == 415
    assert alive(served, image)


def test_too_many_files_and_parts(served, image):
    body, content_type = form(*[(f"{n}.png", image) for n in range(5)])
    assert served.post("/v1/predict", body, content_type).status == 413
    fields = (
        b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' for _ in range(500)) + b"--x--\r\n"
    )
    assert served.post("/v1/predict", fields, "multipart/form-data; boundary=x").status == 413


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", "multipart/form-data"), (b"", "multipart/form-data; boundary="), (b"x", "multipart/form-data; boundary=x"),
     (b"--x--\r\n", "multipart/form-data; boundary=x"), (b"--x\r\n", "multipart/form-data; boundary=x"),
     (b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n", "multipart/form-data; boundary=x"),
     (b"--x\r\n" + b"A" * 70_000, "multipart/form-data; boundary=x"),
     (b"x", "multipart/form-data; boundary=" + "b" * 300)],
)  # fmt: skip
def test_malformed_forms_get_400(served, image, body, content_type):
    assert served.post("/v1/predict", body, content_type).status == 400
    assert alive(served, image)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_bytes_a_form_is_made_of_there_is_a_status(served, data):
    pieces = st.sampled_from(
        [b"--x", b"--x--", b"\r\n", b"\n", b'Content-Disposition: form-data; name="file"; filename="a"', b":", b"\x00",
         b'Content-Disposition: form-data; filename="', b"\xff\xfe", b"--", b"x", b"\r", b" " * 9000, b'"', b"\\"]
    ) | st.binary(max_size=20)  # fmt: skip
    body = b"".join(data.draw(st.lists(pieces, max_size=30)))
    answer = served.post("/v1/predict", body, "multipart/form-data; boundary=x")
    assert answer.status in (200, 400, 413, 422)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["image", "images", "url", "name", "x"]), inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_whatever_json_comes_there_is_a_status(served, value):
    import json

    answer = served.post("/v1/predict", json.dumps(value).encode(), "application/json")
    assert answer.status in (200, 400, 403, 413, 422)


def test_connections_beyond_the_limit_take_the_place_of_idle_ones(tiny_model, image):
    with (
        serving("-m", str(tiny_model), "--runtime", "torch", "--max-connections", "8") as server,
        contextlib.ExitStack() as stack,
    ):
        idle = [stack.enter_context(server.connect()) for _ in range(40)]
        assert alive(server, image)
        closed = 0
        for connection in idle[:32]:
            connection.settimeout(5)
            closed += connection.recv(100) == b""
        assert closed == 32
        assert server.metric("imgcls_turned_away_total") >= 32


@pytest.mark.slow
def test_ten_thousand_idle_connections(tiny_model, image):
    import resource

    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 11_000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with serving("-m", str(tiny_model), "--runtime", "torch") as server, contextlib.ExitStack() as stack:
        before = _memory_mib(server.pid)
        for number in range(10_000):
            stack.enter_context(server.connect())
            if number % 2000 == 0:
                assert alive(server, image)
        assert alive(server, image)
        assert len(list(Path(f"/proc/{server.pid}/fd").iterdir())) < 1200
        assert _memory_mib(server.pid) - before < 100


def _memory_mib(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
