"""Which texts are addresses in object storage, and how records show them. Imports nothing heavy."""

from typing import NamedTuple
from urllib.parse import urlsplit

from imgcls.host.http.urls import without_secrets

# By scheme, the package that reads it through fsspec.
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
}
ON_S3 = ("s3", "s3a")
# Where the name before an @ is a container, not a user.
WITH_CONTAINERS = ("abfs", "abfss")


class StorageOptions(NamedTuple):
    """How object storage is reached; credentials come from where its own tools look for them, and are never kept here.

    Attributes:
        endpoint_url: of an S3 server other than Amazon's, such as MinIO's.
        is_anonymous: ask without credentials, as public buckets allow.
    """

    endpoint_url: str | None = None
    is_anonymous: bool = False


DEFAULT_STORAGE = StorageOptions()


def is_object_url(text: str) -> bool:
    """Whether an argument is an address in object storage."""
    scheme, colon, _rest = text.partition("://")
    return bool(colon) and scheme.lower() in PACKAGES


def shown_url(url: str) -> str:
    """An address as records, messages and logs show it; passwords and tokens are hidden."""
    parts = urlsplit(url)
    if parts.scheme.lower() in WITH_CONTAINERS and ":" not in parts.netloc.rpartition("@")[0]:
        return url
    return without_secrets(url)


def restored_url(path: str) -> str:
    """An address that went through `Path`, which takes `s3://bucket/a` for `s3:/bucket/a`; other paths as they are."""
    scheme, colon, rest = path.partition(":/")
    if colon and scheme.lower() in PACKAGES and not rest.startswith("/"):
        return f"{scheme}://{rest}"
    return path
