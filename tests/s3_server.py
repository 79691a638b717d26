"""A real server of the S3 protocol on a port of this machine, which fails as a test says."""

import contextlib
import io
import logging
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIATESTKEYOFOURS",
    "AWS_SECRET_ACCESS_KEY": "very-secret-of-ours",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
ANSWERS = {
    404: b"<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>",
    403: b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
    500: b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>",
    503: b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
}


class S3Server:
    """Buckets in memory, behind HTTP.

    Attributes:
        url: of the server.
        requests: method and path of each, in order.
        faults: asked about each request; gives a status to answer with instead, or None.
    """

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.requests: list[tuple[str, str]] = []
        self.faults: Callable[[str, str], int | None] = lambda _method, _path: None
        self._application = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._lock:
            self.requests.append((method, path))
            status = self.faults(method, path)
        if status is not None:
            answer = ANSWERS[status]
            start_response(
                f"{status} Fault", [("Content-Type", "application/xml"), ("Content-Length", str(len(answer)))]
            )
            return [b"" if method == "HEAD" else answer]
        return self._application(environ, start_response)

    def put(self, key: str, content: bytes) -> None:
        """Write an object into the bucket `data`."""
        self.client.upload_fileobj(io.BytesIO(content), "data", key)

    def get(self, key: str) -> bytes:
        """Read one."""
        file = io.BytesIO()
        self.client.download_fileobj("data", key, file)
        return file.getvalue()

    def keys(self) -> list[str]:
        """The names of all."""
        return [each["Key"] for each in self.client.list_objects_v2(Bucket="data").get("Contents", ())]

    @property
    def client(self) -> Any:
        """Another program's client."""
        import boto3

        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1")

    def close(self) -> None:
        """Free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def s3_process() -> Iterator[S3Server]:
    """One server for the tests of a file: its start takes a second."""
    pytest.importorskip("moto", reason="pip install 'imgcls[dev]'")
    pytest.importorskip("s3fs", reason="pip install 'imgcls[remote]'")
    with contextlib.closing(S3Server()) as server:
        yield server


@pytest.fixture
def s3(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server with one empty bucket, `data`, and credentials for it in the environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_process.url)
    s3_process.faults = lambda _method, _path: None
    s3_process.client.create_bucket(Bucket="data")
    s3_process.requests.clear()
    yield s3_process
    s3_process.faults = lambda _method, _path: None
    bucket = s3_process.client
    for key in list(s3_process.keys()):
        bucket.delete_object(Bucket="data", Key=key)
    bucket.delete_bucket(Bucket="data")
    # The store of the next test is another one, though it has the same name.
    from imgcls.images.object_storage import store

    store._stores.cache_clear()
