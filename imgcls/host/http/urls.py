"""URLs as text: what may be shown of them, what is sent, and where they may lead. Imports nothing heavy."""

import contextlib
import ipaddress
import re
import socket
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit, urlunsplit

# Characters that stay as they are in a path or query: reserved ones, and the sign of those already escaped.
SAFE_IN_URL = "%/:=&?~+!$,;'@()*[]"
HIDDEN = "***"
USER = re.compile(r"^([a-z][a-z0-9+.-]*:/*)[^/?#]*@", re.IGNORECASE)
# What signs or opens an address: "X-Amz-Signature", "access_token", "sig" of Azure's.
SECRET = re.compile(
    r"([?&](?:[^=&#]*(?:token|secret|passw|signature|credential|api_?key)[^=&#]*|sig|auth|pwd)=)[^&#]+", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """An address as records, messages and logs show it: the user, the password and tokens in the query are hidden.

    Anything but an address stays as it is.
    """
    if "://" not in text:
        return text
    return SECRET.sub(rf"\1{HIDDEN}", USER.sub(rf"\1{HIDDEN}@", text))


def split_user(url: str) -> tuple[str, bytes | None]:
    """An address as it is requested, and `user:password` if it holds them.

    Percent-escapes what a browser would: blanks and characters outside ASCII in path and query, names of hosts outside
    ASCII as IDNA.

    Raises:
        ValueError: not the address of a host on HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("only http:// and https:// are fetched")
    if not parts.hostname:
        raise ValueError("it names no host")
    user, at, place = parts.netloc.rpartition("@")
    if not place.isascii():
        place = place.encode("idna").decode("ascii")
    path, query = (quote(text, safe=SAFE_IN_URL) for text in (parts.path, parts.query))
    return urlunsplit((parts.scheme, place, path, query, "")), unquote_to_bytes(user) if at else None


def redirect_target(url: str, location: str) -> tuple[str, bytes | None]:
    """Where a redirect leads, as `split_user` gives it.

    Raises:
        ValueError: off HTTP, or nowhere.
    """
    target = urljoin(url, location)
    try:
        return split_user(target)
    except ValueError as exc:
        raise ValueError(f"it redirects to {without_secrets(target)}: {exc}") from exc


def origin(url: str) -> tuple[str, str]:
    """What credentials belong to: scheme, and host with port."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def is_private(host: str) -> bool:
    """Whether a host's address, in any spelling, is this machine's or one of a private network.

    Names are not looked up, except that `localhost` is known.
    """
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    with contextlib.suppress(OSError):
        # "127.1" and "2130706433" are addresses too.
        name = socket.inet_ntoa(socket.inet_aton(name))
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    embedded = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return not (embedded or address).is_global
