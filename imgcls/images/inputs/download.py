"""Images from the network: one URL's bytes, within limits of size and time."""

from collections.abc import Callable

from imgcls.errors import ImageError
from imgcls.images.object_storage.urls import StorageOptions, is_object_url

MAX_IMAGE_BYTES = 64 * 2**20
TIME_LIMIT_SEC = 60.0


def fetch_image(
    url: str,
    *,
    max_bytes: int = MAX_IMAGE_BYTES,
    time_limit_sec: float = TIME_LIMIT_SEC,
    allow_private: bool = False,
    public_only: bool = False,
    allows: Callable[[str], bool] | None = None,
    storage: StorageOptions | None = None,
) -> bytes:
    """Fetch an encoded image.

    Args:
        url: `http://`, `https://` or one of object storage.
        max_bytes: refuse more.
        time_limit_sec: for all of it, retries included.
        allow_private: whether a public server may redirect to this machine or to a private network.
        public_only: whether even the first address must not be there, as where somebody else chose it.
        allows: whether an address may be asked, also one that a redirect leads to; None for any.
        storage: how object storage is reached; None as its own tools do.
    Raises:
        ImageError: it could not be fetched, or is too large.
    """
    if is_object_url(url):
        if public_only or allows is not None:
            # Where somebody else chose the address, this machine's credentials are not for them.
            raise ImageError("download_failed", "object storage is not asked here")
        from imgcls.images.object_storage.inputs import fetch_object

        options = storage or StorageOptions()
        return fetch_object(url, options=options, max_bytes=max_bytes, time_limit_sec=time_limit_sec)
    # Few runs touch the network, and urllib3's import is a tenth of a small run's time.
    from imgcls.host.http.content import Limits
    from imgcls.host.http.download import download_bytes
    from imgcls.host.http.faults import DownloadError

    limits = Limits(idle_sec=min(10.0, time_limit_sec), total_sec=time_limit_sec)
    try:
        return download_bytes(
            url,
            max_bytes=max_bytes,
            limits=limits,
            allow_private=allow_private,
            public_only=public_only,
            allows=allows,
        )
    except DownloadError as exc:
        raise ImageError("download_failed", exc.reason) from exc
