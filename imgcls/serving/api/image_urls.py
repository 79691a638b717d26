"""Images that the server fetches for a client: from allowed hosts alone, and never from a private network."""

import functools
from collections.abc import Callable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from imgcls.errors import ImageError
from imgcls.host.http import urls
from imgcls.images.inputs.download import fetch_image
from imgcls.images.inputs.names import is_url, valid_unicode
from imgcls.images.inputs.source import Source
from imgcls.serving.http.multipart import clean_name
from imgcls.serving.http.problems import Problem


class UrlPolicy:
    """Which addresses are fetched.

    Args:
        hosts: patterns of names, such as `*.example.org`; none forbids all.
    """

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self._hosts = tuple(host.lower() for host in hosts)

    def source(self, url: str, name: str | None) -> Source:
        """An address as an image to classify.

        Raises:
            Problem: 403, as addresses aren't taken, or not of this host; 400 for what is none.
        """
        if not self._hosts:
            raise Problem(403, "addresses are not fetched here; send the image, or start with --allow-urls HOST")
        if not is_url(url) or len(url) > 2048:
            raise Problem(400, '"url" is an address on http:// or https://')
        url = valid_unicode(url)
        if not self.allows(url):
            raise Problem(403, "addresses of this host are not fetched here")
        return Source(clean_name(name if name is not None else urls.without_secrets(url)), url=url)

    def allows(self, url: str) -> bool:
        """Whether an address may be asked."""
        try:
            host = (urlsplit(url).hostname or "").rstrip(".")
        except ValueError:
            return False
        return any(fnmatchcase(host, pattern) for pattern in self._hosts)

    def fetch(self, *, max_bytes: int, time_limit_sec: float) -> Callable[[str], bytes]:
        """What turns an address into bytes, within limits."""
        return functools.partial(_fetch, self, max_bytes, time_limit_sec)


def _fetch(policy: UrlPolicy, max_bytes: int, time_limit_sec: float, url: str) -> bytes:
    if not policy.allows(url):
        raise ImageError("download_failed", "addresses of this host are not fetched here")
    return fetch_image(url, max_bytes=max_bytes, time_limit_sec=time_limit_sec, public_only=True, allows=policy.allows)
