"""Images from the network: one URL's bytes, within limits of size and time."""

from collections.abc import Callable

from imgcls.errors import ImageError

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
) -> bytes:
    """Fetch an encoded image.

    Args:
        url: `http://` or `https://`.
        max_bytes: refuse more.
        time_limit_sec: for all of it, retries included.
        allow_private: whether a public server may redirect to this machine or to a private network.
        public_only: whether even the first address must not be there, as where somebody else chose it.
        allows: whether an address may be asked, also one that a redirect leads to; None for any.
    Raises:
        ImageError: it could not be fetched, or is too large.
    """
    # Few runs touch the network, and urllib3's import is a tenth of a small run's time.
    from imgcls.host.download import DownloadError, Limits, download_bytes

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
