"""What servers may not do to us: send without end beside the answer, lead us home, or learn others' passwords."""

import base64
import contextlib
import gzip
import hashlib
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from imgcls.host.http.content import Limits
from imgcls.host.http.download import Digest, download_bytes, download_file
from imgcls.host.http.faults import DownloadError

QUICK = Limits(idle_sec=5, total_sec=30, attempts=2, pause_sec=0.01)


class Recorder:
    """A server that sends content without end and keeps the headers that it was sent."""

    def __init__(self) -> None:
        self.sent: dict[str, int] = {}
        self.headers: list[tuple[str, dict[str, str]]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.headers.append((self.path, dict(self.headers)))
                # An absolute address is asked of a proxy.
                status, _, target = self.path.lstrip("/").partition("/") if self.path[0] == "/" else ("404", "", "")
                if status == "ok":
                    self.send_response(200)
                    self.end_headers()
                    self.wfile.write(b"fine")
                    return
                self.send_response(int(status))
                self.send_header("Location", target if "://" in target else f"/{target}")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while True:
                        owner.sent[self.path] = owner.sent.get(self.path, 0) + self.wfile.write(b"x" * 65536)

            def log_message(self, *_args: object) -> None:
                """Nothing on the test's stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.place = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Stop; waits until every endless body was ended by its reader."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    server = Recorder()
    yield server
    server.close()


@pytest.mark.parametrize("status", [204, 206, 304, 302])
def test_an_answer_that_is_not_the_whole_content_is_none(recorder, status, monkeypatch):
    # A redirect without an address, for one.
    monkeypatch.setattr(BaseHTTPRequestHandler, "send_header", lambda *_arguments: None)
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        download_bytes(f"http://{recorder.place}/{status}/", limits=QUICK, max_bytes=100)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_endless_body_of_a_redirect_is_not_read(recorder, status):
    assert download_bytes(f"http://{recorder.place}/{status}/ok", max_bytes=10, limits=QUICK) == b"fine"
    # What the system's buffers hold is sent before the server notices; the rest never is.
    assert recorder.sent.get(f"/{status}/ok", 0) < 2**25


@pytest.mark.parametrize("status", [404, 410, 429, 500, 503])
def test_endless_body_of_an_error_is_not_read(recorder, status):
    with pytest.raises(DownloadError, match=f"HTTP {status}"):
        download_bytes(f"http://{recorder.place}/{status}/x", max_bytes=10, limits=QUICK)
    assert recorder.sent.get(f"/{status}/x", 0) < 2**26


def authorization(recorder: Recorder) -> list[str | None]:
    return [headers.get("Authorization") for _path, headers in recorder.headers]


def test_basic_authentication(recorder):
    assert download_bytes(f"http://me:s%40crét@{recorder.place}/ok", max_bytes=10) == b"fine"
    (sent,) = authorization(recorder)
    assert base64.b64decode(str(sent).removeprefix("Basic ")).decode("utf-8") == "me:s@crét"


def test_credentials_stay_with_their_host(recorder, server):
    server.add("/elsewhere", status=302, headers={"Location": f"http://{recorder.place}/ok"})
    download_bytes(server.url.replace("://", "://me:secret@") + "/elsewhere", max_bytes=10)
    assert authorization(recorder) == [None]
    recorder.headers.clear()
    download_bytes(f"http://me:secret@{recorder.place}/302/ok", max_bytes=10)
    assert len(set(authorization(recorder))) == 1
    assert authorization(recorder)[0] is not None


@pytest.mark.parametrize("answer", [{"status": 404}, {"status": 302, "headers": {"Location": "ftp://it:secret@h/"}}])
def test_credentials_are_in_no_message(server, answer):
    url = server.add("/file", **answer).replace("://", "://me:secret@")
    with pytest.raises(DownloadError) as caught:
        download_bytes(url, max_bytes=10, limits=QUICK)
    assert "secret" not in str(caught.value) + caught.value.url + repr(caught.value.hint)
    assert "***@" in caught.value.message


def test_retry_after_is_obeyed(server):
    server.add("/file", b"later", status=503, headers={"Retry-After": "1"})
    url = server.add("/file", b"now")
    limits = Limits(total_sec=60, attempts=2, pause_sec=0)
    assert download_bytes(url, max_bytes=10, limits=limits) == b"now"
    # The same wish where there is less time: it must be what ends the tries.
    server.add("/busy", b"", status=503, headers={"Retry-After": "1"})
    with pytest.raises(DownloadError, match="asks to wait 1 s"):
        download_bytes(server.url + "/busy", max_bytes=10, limits=Limits(total_sec=0.9, attempts=3, pause_sec=0))


def test_a_date_to_come_back_at(server):
    server.add(
        "/file", b"", status=429, headers={"Retry-After": format_datetime(datetime.now(UTC) + timedelta(days=1))}
    )
    with pytest.raises(DownloadError, match=r"HTTP 429 .*tried once; the server asks to wait \d+ s"):
        download_bytes(server.url + "/file", max_bytes=10, limits=Limits(total_sec=10**6, attempts=3, pause_sec=0))
    assert len(server.requests) == 1


@pytest.mark.parametrize("wish", ["", "soon", "-1", "9" * 400])
def test_odd_wishes_to_wait(server, wish):
    server.add("/file", b"", status=503, headers={"Retry-After": wish})
    with pytest.raises(DownloadError, match="HTTP 503"):
        download_bytes(server.url + "/file", max_bytes=10, limits=QUICK)


BODY = b"an image, say " * 10_000


def raw_deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(content) + compressor.flush()


ENCODED = {
    "gzip": gzip.compress(BODY),
    "x-gzip": gzip.compress(BODY),
    "GZIP": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "deflate, gzip": gzip.compress(zlib.compress(BODY)),
    "identity": BODY,
}


@pytest.mark.parametrize("encoding", ENCODED)
@pytest.mark.parametrize("length", [None, -1])
def test_encodings_that_nobody_asked_for(server, tmp_path, encoding, length):
    url = server.add("/file", ENCODED[encoding], headers={"Content-Encoding": encoding}, length=length)
    assert download_bytes(url, max_bytes=len(BODY)) == BODY
    seen = []
    download_file(url, tmp_path / "file", progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "file").read_bytes() == BODY
    assert seen[-1] == (len(ENCODED[encoding]), len(ENCODED[encoding]) if length is None else None)


def test_brotli_where_its_package_is_there(server):
    brotli = pytest.importorskip("brotli")
    url = server.add("/file", brotli.compress(BODY), headers={"Content-Encoding": "br"})
    assert download_bytes(url, max_bytes=len(BODY)) == BODY


def test_deflate_without_its_header(server):
    url = server.add("/file", raw_deflate(BODY), headers={"Content-Encoding": "deflate"})
    assert download_bytes(url, max_bytes=len(BODY)) == BODY


def test_an_encoding_that_cannot_be_undone_is_said(server):
    url = server.add("/file", b"?", headers={"Content-Encoding": "gzip, x-of\x1b[31mours"})
    with pytest.raises(DownloadError, match="it came in the content encoding") as caught:
        download_bytes(url, max_bytes=10)
    assert caught.value.message.isprintable()


def test_damaged_encoding(server):
    url = server.add("/file", b"no gzip at all", headers={"Content-Encoding": "gzip"})
    with pytest.raises(DownloadError, match="content encoding is damaged"):
        download_bytes(url, max_bytes=100, limits=QUICK)


@pytest.mark.parametrize("encoding", ["gzip", "br"])
@pytest.mark.parametrize("length", [None, -1])
def test_what_is_unpacked_has_the_limit_too(server, length, encoding):
    # 200 MiB of zeros in 200 KB: to unpack it whole before counting would show in this process's memory.
    code = (
        "import resource, sys; from imgcls.host.http.download import DownloadError, download_bytes\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: download_bytes(sys.argv[1], max_bytes=2**20)\n"
        "except DownloadError as exc: print(exc.reason)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024)"
    )
    compress = gzip.compress if encoding == "gzip" else pytest.importorskip("brotli").compress
    bomb = compress(bytes(200 * 2**20))
    url = server.add("/file", bomb, headers={"Content-Encoding": encoding}, length=length)
    run = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["more than 1,048,576 bytes", "True"]


def test_an_archive_that_the_server_calls_encoded_stays_one(server, tmp_path):
    archive = gzip.compress(BODY)
    url = server.add("/data.tar.gz", archive, headers={"Content-Encoding": "x-gzip"})
    download_file(url, tmp_path / "file", check=Digest("md5", hashlib.md5(archive).hexdigest()))
    assert (tmp_path / "file").read_bytes() == archive


def test_a_private_address_may_redirect_to_another(server):
    server.add("/moved", status=302, headers={"Location": server.url.replace("127.0.0.1", "localhost") + "/file"})
    server.add("/file", b"ours")
    assert download_bytes(server.url + "/moved", max_bytes=10) == b"ours"


def test_a_public_address_leads_home_only_where_that_is_allowed(server, monkeypatch):
    # A proxy stands for the world outside: what it is asked for by name is public.
    server.add("http://public.invalid/a", status=302, headers={"Location": "http://127.0.0.1:9/secret"})
    server.add("http://127.0.0.1:9/secret", b"home")
    monkeypatch.setenv("http_proxy", server.url)
    with pytest.raises(DownloadError, match=r"a public server redirects to the private address 127\.0\.0\.1"):
        download_bytes("http://public.invalid/a", max_bytes=10, limits=QUICK)
    assert download_bytes("http://public.invalid/a", max_bytes=10, allow_private=True) == b"home"
    # Public in between, although the first was private.
    server.add("http://127.0.0.1:9/out", status=302, headers={"Location": "http://public.invalid/a"})
    with pytest.raises(DownloadError, match="private address"):
        download_bytes("http://127.0.0.1:9/out", max_bytes=10, limits=QUICK)


IN_A_WORLD_OF_ITS_OWN = """
import subprocess, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
for command in ("ip link set lo up", "ip addr add 8.8.4.4/32 dev lo"):
    subprocess.run(command.split(), check=True)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        self.send_response(302 if self.path.startswith("/to") else 200)
        self.send_header("Location", f"http://{self.path[4:]}:{port}/secret")
        self.end_headers()
        self.wfile.write(b"home")
    def log_message(self, *_args): pass
asked = []
server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
port = server.server_port
threading.Thread(target=server.serve_forever, daemon=True).start()
from imgcls.host.http.download import DownloadError, download_bytes
for host, target in (("8.8.4.4", "127.0.0.1"), ("8.8.4.4", "127.1"), ("8.8.4.4", "localhost"), ("8.8.4.4", "8.8.4.4"),
                     ("127.0.0.1", "127.0.0.1")):
    for allow_private in (False, True):
        asked.clear()
        try:
            download_bytes(f"http://{host}:{port}/to/{target}", max_bytes=10, allow_private=allow_private)
            print(host, target, allow_private, "read")
        except DownloadError as exc:
            assert "private address 127.0.0.1" in exc.reason, exc.reason
            assert asked == [f"/to/{target}"], asked
            print(host, target, allow_private, "refused")
"""


@pytest.mark.skipif(not shutil.which("unshare") or not shutil.which("ip"), reason="needs Linux's unshare and ip")
def test_addresses_are_judged_by_where_the_connection_really_leads():
    command = ["unshare", "-rn", sys.executable, "-c", IN_A_WORLD_OF_ITS_OWN]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if "unshare" in run.stderr or "Operation not permitted" in run.stderr:
        pytest.skip("this system gives no network namespace")
    assert (run.returncode, run.stderr) == (0, "")
    lines = [line.split() for line in run.stdout.splitlines()]
    refused = [(host, target) for host, target, allowed, word in lines if word == "refused"]
    assert refused == [("8.8.4.4", "127.0.0.1"), ("8.8.4.4", "127.1"), ("8.8.4.4", "localhost")]
    assert len(lines) == 10


def test_credentials_of_a_proxy(recorder, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://me:secret@{recorder.place}")
    with pytest.raises(DownloadError) as caught:
        download_bytes("http://public.invalid/404", max_bytes=10, limits=QUICK)
    assert "secret" not in str(caught.value)
    _path, headers = recorder.headers[0]
    assert headers["Proxy-Authorization"] == "Basic " + base64.b64encode(b"me:secret").decode()
