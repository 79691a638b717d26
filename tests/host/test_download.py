"""Downloads against a real server on this machine that behaves as badly as servers do."""

import hashlib
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from imgcls.errors import OutputError
from imgcls.host.http.content import Limits
from imgcls.host.http.download import Digest, download_bytes, download_file
from imgcls.host.http.faults import DownloadError
from imgcls.host.http.urls import split_user

BODY = b"weights " * 50_000
SHA256 = hashlib.sha256(BODY).hexdigest()
MD5 = hashlib.md5(BODY).hexdigest()
QUICK = Limits(idle_sec=0.3, total_sec=5, attempts=3, pause_sec=0.01)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def start_download(url: str, target: Path) -> "subprocess.Popen[str]":
    script = (
        "import sys; from pathlib import Path; from imgcls.host.http.download import download_file\n"
        "download_file(sys.argv[1], Path(sys.argv[2]), progress=lambda d, t: print(d, flush=True))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, url, str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("check", [None, Digest("sha256", SHA256[:8]), Digest("sha256", SHA256), Digest("md5", MD5)])
def test_whole_file_gets_its_name(server, tmp_path, check):
    url = server.add("/file", BODY)
    seen = []
    target = tmp_path / "new" / "folder" / "file.pth"
    download_file(url, target, check=check, progress=lambda done, total: seen.append((done, total)))
    assert target.read_bytes() == BODY
    assert names(target.parent) == ["file.pth"]
    assert seen[0] == (0, len(BODY))
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)


def test_length_need_not_be_announced(server, tmp_path):
    url = server.add("/file", BODY, length=-1)
    seen = []
    download_file(url, tmp_path / "file", progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "file").read_bytes() == BODY
    assert seen[-1] == (len(BODY), None)


def test_empty_file(server, tmp_path):
    download_file(server.add("/file", b""), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b""


def test_wrong_hash_leaves_the_old_file_and_is_not_tried_again(server, tmp_path):
    url = server.add("/file", BODY)
    (tmp_path / "file").write_text("old")
    with pytest.raises(DownloadError, match=f"sha256 of what came is {SHA256[:8]}, not 00000000"):
        download_file(url, tmp_path / "file", check=Digest("sha256", "00000000"), limits=QUICK)
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusals_are_final(server, tmp_path, status):
    url = server.add("/file", b"no", status=status)
    with pytest.raises(DownloadError, match=f"HTTP {status} ") as caught:
        download_file(url, tmp_path / "file", limits=QUICK)
    assert caught.value.url == url
    assert len(server.requests) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_faults_that_pass_are_tried_again(server, tmp_path, status):
    server.add("/file", b"later", status=status)
    url = server.add("/file", BODY)
    download_file(url, tmp_path / "file", limits=QUICK)
    assert (tmp_path / "file").read_bytes() == BODY
    assert len(server.requests) == 2


def test_tries_are_counted(server, tmp_path):
    url = server.add("/file", b"", status=500)
    with pytest.raises(DownloadError, match=r"HTTP 500 .*tried 3 times"):
        download_file(url, tmp_path / "file", limits=QUICK)
    assert len(server.requests) == 3


def test_cut_short_then_whole(server, tmp_path):
    server.add("/file", BODY[:1000], length=len(BODY))
    url = server.add("/file", BODY)
    seen = []
    download_file(url, tmp_path / "file", limits=QUICK, progress=lambda done, _total: seen.append(done))
    assert (tmp_path / "file").read_bytes() == BODY
    assert seen.count(0) == 2


def test_cut_short_each_time(server, tmp_path):
    url = server.add("/file", BODY[:1000], length=len(BODY))
    with pytest.raises(DownloadError, match=r"cut short: 1,000 of 400,000 bytes"):
        download_file(url, tmp_path / "file", limits=QUICK)
    assert names(tmp_path) == []


def test_cut_short_in_chunked_encoding(server, tmp_path):
    url = server.add("/file", b"ff\r\nhalf", headers={"Transfer-Encoding": "chunked"}, length=-1)
    server.answers["/file"][0].headers["Connection"] = "close"
    with pytest.raises(DownloadError, match="cut short"):
        download_file(url, tmp_path / "file", limits=QUICK)
    assert names(tmp_path) == []


def test_silence(server, tmp_path):
    url = server.add("/file", hang=True)
    with pytest.raises(DownloadError, match=r"no answer for 0.3 s \(tried 2 times\)"):
        download_file(url, tmp_path / "file", limits=Limits(idle_sec=0.3, attempts=2, pause_sec=0.01))
    assert names(tmp_path) == []


def test_slow_drip_is_given_up_long_before_the_total(server, tmp_path):
    url = server.add("/file", BODY, drip_sec=0.01)
    with pytest.raises(DownloadError, match="too slow"):
        download_file(url, tmp_path / "file", limits=Limits(idle_sec=0.2, total_sec=3600))
    assert len(server.requests) == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("trick", [{"drip_sec": 0.02}, {"drip_headers": True}])
def test_no_drip_defeats_the_total(server, tmp_path, trick):
    url = server.add("/file", BODY, **trick)
    limits = Limits(idle_sec=5, total_sec=0.4, min_bytes_per_sec=0)
    with pytest.raises(DownloadError, match=r"not done after 0\.4 s"):
        download_file(url, tmp_path / "file", limits=limits)
    assert names(tmp_path) == []


def test_drip_inside_a_chunk_header_ends_with_the_total(server, tmp_path):
    url = server.add("/file", b"0" * 10_000, headers={"Transfer-Encoding": "chunked"}, length=-1, drip_sec=0.02)
    with pytest.raises(DownloadError, match=r"not done after 0\.4 s"):
        download_file(url, tmp_path / "file", limits=Limits(idle_sec=5, total_sec=0.4))


def test_total_covers_the_pauses(server, tmp_path):
    url = server.add("/file", b"", status=503)
    with pytest.raises(DownloadError, match="HTTP 503"):
        download_file(url, tmp_path / "file", limits=Limits(total_sec=2, attempts=9, pause_sec=60))
    assert len(server.requests) == 1


def test_refused_port(refused_url, tmp_path):
    with pytest.raises(DownloadError, match="connection refused"):
        download_file(refused_url, tmp_path / "file", limits=QUICK)


def test_unknown_host(tmp_path):
    # RFC 6761: names under .invalid never resolve.
    with pytest.raises(DownloadError, match="the host is unknown, or there is no network"):
        download_file("http://weights.invalid/file", tmp_path / "file", limits=QUICK)


def test_offline_touches_no_network(server, tmp_path, monkeypatch):
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    url = server.add("/file", BODY)
    with pytest.raises(DownloadError, match="IMGCLS_OFFLINE"):
        download_file(url, tmp_path / "file")
    with pytest.raises(DownloadError, match="IMGCLS_OFFLINE"):
        download_bytes(url, max_bytes=10)
    assert server.requests == []
    assert names(tmp_path) == []


def test_redirects_are_followed(server, tmp_path):
    server.add("/moved", status=302, headers={"Location": "/file"})
    server.add("/file", BODY)
    download_file(server.url + "/moved", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY
    assert server.requests == ["/moved", "/file"]


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_redirects_stay_on_http(server, tmp_path, scheme):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    url = server.add("/moved", status=302, headers={"Location": f"{scheme}://localhost{secret}"})
    with pytest.raises(DownloadError):
        download_file(url, tmp_path / "file", limits=QUICK)
    assert names(tmp_path) == ["secret"]


def test_circle_of_redirects(server, tmp_path):
    url = server.add("/moved", status=302, headers={"Location": "/moved"})
    with pytest.raises(DownloadError, match="HTTP 302") as caught:
        download_file(url, tmp_path / "file", limits=QUICK)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://localhost/file", "no address", "http://", "http://[x"])
def test_other_addresses_are_refused(tmp_path, url):
    with pytest.raises(DownloadError) as caught:
        download_file(url, tmp_path / "file", limits=QUICK)
    assert url in caught.value.message
    assert names(tmp_path) == []


def test_server_cannot_steer_the_terminal(server, tmp_path):
    url = server.add("/moved", status=302, headers={"Location": "file:///\x1b[31mred"})
    with pytest.raises(DownloadError) as caught:
        download_file(url, tmp_path / "file", limits=QUICK)
    assert caught.value.message.isprintable()


def test_not_http_at_all(tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(DownloadError, match="not a usable address or answer"):
            download_file(f"http://127.0.0.1:{listener.getsockname()[1]}/x", tmp_path / "file", limits=QUICK)
        thread.join()


def test_proxy_of_the_environment(server, tmp_path, monkeypatch):
    server.add("http://weights.invalid/file", BODY)
    monkeypatch.setenv("http_proxy", server.url)
    download_file("http://weights.invalid/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_two_processes_at_once(server, tmp_path):
    url = server.add("/file", BODY)
    runs = [start_download(url, tmp_path / "file") for _ in range(2)]
    for run in runs:
        _out, err = run.communicate(timeout=60)
        assert (run.returncode, err) == (0, "")
    assert (tmp_path / "file").read_bytes() == BODY
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_interrupted(server, tmp_path):
    url = server.add("/file", BODY, drip_sec=0.05)
    with start_download(url, tmp_path / "file") as run:
        assert run.stdout is not None
        # The second report: bytes have come, and the temporary file is there.
        run.stdout.readline()
        run.stdout.readline()
        assert len(names(tmp_path)) == 1
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=60)
    assert run.returncode == -signal.SIGINT
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_swept(server, tmp_path):
    dripping = server.add("/slow", BODY, drip_sec=0.05)
    with start_download(dripping, tmp_path / "file") as run:
        assert run.stdout is not None
        run.stdout.readline()
        run.kill()
        run.communicate(timeout=60)
    (left,) = tmp_path.iterdir()
    assert left.suffix == ".part"
    url = server.add("/file", BODY)
    download_file(url, tmp_path / "file")
    assert names(tmp_path) == ["file"]


def test_folder_that_cannot_be_made(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="can't write"):
        download_file(server.add("/file", BODY), tmp_path / "file" / "weights.pth")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_disk(server):
    with pytest.raises(OutputError, match="No space left"):
        download_file(server.add("/file", BODY), Path("/dev/full"))


def test_bytes_in_memory(server):
    assert download_bytes(server.add("/ok", BODY), max_bytes=len(BODY)) == BODY
    server.add("/twice", BODY[:10], length=len(BODY))
    assert download_bytes(server.add("/twice", BODY), max_bytes=len(BODY), limits=QUICK) == BODY


@pytest.mark.parametrize("length", [None, -1])
def test_too_many_bytes(server, length):
    url = server.add("/file", BODY, length=length)
    with pytest.raises(DownloadError, match="more than 1,000 bytes"):
        download_bytes(url, max_bytes=1000)


def test_names_outside_ascii(server):
    server.add("/caf%C3%A9%20au%20lait.jpg?q=%C3%BC", b"cup")
    assert download_bytes(server.url + "/café au lait.jpg?q=ü", max_bytes=10) == b"cup"


@pytest.mark.parametrize(
    ("url", "escaped"),
    [
        ("http://h/a%20b", "http://h/a%20b"),
        ("http://h:80/a b?c=d e&f=(1)#part", "http://h:80/a%20b?c=d%20e&f=(1)"),
        ("https://h/ä", "https://h/%C3%A4"),
    ],
)
def test_escaping(url, escaped):
    assert split_user(url) == (escaped, None)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
def test_certificates(server, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.wrap_in_tls(context)
    server.add("/file", BODY)
    url = server.url.replace("http://127.0.0.1", "https://localhost") + "/file"
    with pytest.raises(DownloadError, match="certificate is not trusted"):
        download_bytes(url, max_bytes=len(BODY), limits=QUICK)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert download_bytes(url, max_bytes=len(BODY), limits=QUICK) == BODY
    slow = server.add("/slow", BODY, drip_sec=0.02).replace("http://127.0.0.1", "https://localhost")
    with pytest.raises(DownloadError, match=r"not done after 0\.5 s"):
        download_bytes(slow, max_bytes=len(BODY), limits=Limits(idle_sec=5, total_sec=0.5))
