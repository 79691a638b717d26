"""One object store: objects' bytes, whole or in part, their listing in pages, and writing them."""

import functools
import importlib.util
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imgcls.errors import UsageError
from imgcls.host.cache_folders import is_offline
from imgcls.images.object_storage.object_info import ObjectInfo, matches, object_info
from imgcls.images.object_storage.retries import StorageError, with_retries
from imgcls.images.object_storage.urls import ON_S3, PACKAGES, StorageOptions

# A page of S3 has at most a thousand names.
PAGE_NAMES = 1000
CONNECT_LIMIT_SEC = 10
READ_LIMIT_SEC = 30
# More than the download pool asks for at once.
MAX_CONNECTIONS = 64
_lock = threading.Lock()


class ObjectStore:
    """A store, as fsspec reaches it; several threads may ask it at the same time.

    Args:
        scheme: of its addresses, one of `PACKAGES`.
        options: how it is reached.
    Raises:
        UsageError: a package is missing, or `IMGCLS_OFFLINE` forbids the network.
    """

    def __init__(self, scheme: str, options: StorageOptions) -> None:
        self.scheme = scheme
        package = PACKAGES[scheme]
        if importlib.util.find_spec("fsspec") is None or importlib.util.find_spec(package) is None:
            extra = "pip install 'imgcls[remote]'" if package == "s3fs" else f"pip install {package}"
            raise UsageError(f"{scheme}:// needs {package}, which is not installed", hint=extra)
        if is_offline():
            raise UsageError(
                f"{scheme}:// needs the network, which IMGCLS_OFFLINE forbids", hint="unset IMGCLS_OFFLINE"
            )
        import fsspec

        # Their own words about each retry; what matters becomes a record.
        for name in ("s3fs", "gcsfs", "botocore", "aiobotocore", "fsspec"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # A listing that was kept would hide what has changed since, and hold millions of names.
        told: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        if scheme in ON_S3:
            # Tried again here, by one rule for all stores.
            config = {
                "retries": {"max_attempts": 0},
                "connect_timeout": CONNECT_LIMIT_SEC,
                "read_timeout": READ_LIMIT_SEC,
                "max_pool_connections": MAX_CONNECTIONS,
            }
            told |= {"anon": options.is_anonymous, "config_kwargs": config}
            if options.endpoint_url:
                told["endpoint_url"] = options.endpoint_url
        elif scheme in ("gs", "gcs") and options.is_anonymous:
            told["token"] = "anon"
        elif PACKAGES[scheme] == "adlfs" and options.is_anonymous:
            told["anon"] = True
        self._system: Any = fsspec.filesystem(scheme, **told)
        if scheme in ON_S3:
            self._system.retries = 1

    def read(self, url: str, *, start: int = 0, end: int, limit_sec: float = 120.0) -> bytes:
        """A stretch of an object's bytes; what lies behind its end is left out.

        Args:
            url: of the object.
            start: the first byte.
            end: the byte behind the last.
            limit_sec: for all tries.
        Raises:
            StorageError: it can't be read.
        """

        def request() -> bytes:
            try:
                content: bytes = self._system.cat_file(url, start=start, end=end)
            except (OSError, ValueError) as exc:
                # An object without any bytes has no range of them.
                if start == 0 and "range" in str(exc).lower() and self._system.size(url) == 0:
                    return b""
                raise
            return content

        return with_retries(request, limit_sec=limit_sec)

    def info(self, url: str) -> ObjectInfo:
        """What is known of an object.

        Raises:
            StorageError: there is none, or it can't be asked for.
        """
        found = with_retries(lambda: self._system.info(url))
        if found.get("type") == "directory":
            raise StorageError("not_found", "no such object, but others begin with its name: end it with /")
        return object_info(url, found)

    def exists(self, url: str) -> bool:
        """Whether there is an object of this address.

        Raises:
            StorageError: the store can't be asked.
        """
        try:
            self.info(url)
        except StorageError as exc:
            if exc.kind != "not_found":
                raise
            return False
        return True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects whose address begins so, in the order of their names; on S3 a page of a thousand at a time.

        Args:
            prefix: ends with / for what lies below it.
        Raises:
            StorageError: it can't be listed.
        """
        if self.scheme in ON_S3:
            yield from self._list_pages(prefix)
            return
        folder = prefix if prefix.endswith("/") else prefix.rpartition("/")[0] + "/"
        found = with_retries(lambda: self._system.find(folder, detail=True))
        for path in sorted(found):
            url = f"{self.scheme}://{path.lstrip('/')}"
            # Azure's addresses may name an account beside the container, and listings don't.
            if url.startswith(prefix) or "@" in prefix:
                yield object_info(url, found[path])

    def _list_pages(self, prefix: str) -> Iterator[ObjectInfo]:
        bucket, _, key = prefix.partition("://")[2].partition("/")
        token: dict[str, str] = {}
        while True:
            page = with_retries(
                functools.partial(
                    self._system.call_s3, "list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=PAGE_NAMES, **token
                )
            )
            for each in page.get("Contents", ()):
                if not each["Key"].endswith("/"):
                    modified_ns = int(each["LastModified"].timestamp() * 1e9)
                    yield ObjectInfo(f"{self.scheme}://{bucket}/{each['Key']}", each["Size"], modified_ns)
            if not page.get("IsTruncated"):
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def match(self, pattern: str) -> Iterator[ObjectInfo]:
        """The objects whose address matches a pattern: `*` and `?` within a folder's names, `**` across folders.

        Raises:
            StorageError: they can't be listed.
        """
        literal = pattern[: min(pattern.index(each) for each in "*?[" if each in pattern)]
        parts = pattern.split("/")
        for found in self.list(literal):
            if matches(found.url.split("/"), parts):
                yield found

    def write(self, url: str, content: bytes) -> None:
        """Write an object; whoever reads sees the old one or the whole new one.

        Raises:
            StorageError: it can't be written.
        """
        with_retries(lambda: self._system.pipe_file(url, content))

    def upload(self, path: Path, url: str) -> None:
        """Write a file as an object, in parts where it is large.

        Raises:
            StorageError: it can't be written.
        """
        with_retries(lambda: self._system.put_file(str(path), url), limit_sec=600.0)

    def download(self, url: str, path: Path) -> None:
        """Write an object as a file.

        Raises:
            StorageError: it can't be read.
        """
        with_retries(lambda: self._system.get_file(url, str(path)), limit_sec=600.0)

    def remove(self, url: str) -> None:
        """Remove an object; one that isn't there is no error.

        Raises:
            StorageError: it can't be removed.
        """
        try:
            with_retries(lambda: self._system.rm_file(url))
        except StorageError as exc:
            if exc.kind != "not_found":
                raise


def object_store(url: str, options: StorageOptions) -> ObjectStore:
    """The store of an address; one for each scheme and way to reach it.

    Raises:
        UsageError: a package is missing.
    """
    scheme = url.partition("://")[0].lower()
    with _lock:
        return _stores(scheme, options)


@functools.lru_cache(maxsize=8)
def _stores(scheme: str, options: StorageOptions) -> ObjectStore:
    return ObjectStore(scheme, options)
