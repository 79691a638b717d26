"""`data:` URIs (RFC 2397): an image that is written out where its name would stand, as web pages do."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from imgcls.errors import ImageError

SCHEME = "data:"


def is_data_uri(text: str) -> bool:
    """Whether an argument holds an image itself. A file of such a name is written `./data:...`."""
    return text[: len(SCHEME)].lower() == SCHEME and "," in text


def decode_data_uri(uri: str) -> bytes:
    """The bytes of a URI for which `is_data_uri` holds.

    Args:
        uri: with base64, also without its padding and in the alphabet for URLs, or percent-escaped.
    Raises:
        ImageError: the base64 is damaged.
    """
    head, _, payload = uri[len(SCHEME) :].partition(",")
    content = unquote_to_bytes(payload.encode("utf-8", "surrogateescape"))
    if not re.search(r";\s*base64\s*$", head, re.IGNORECASE):
        return content
    digits = b"".join(content.split()).translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    try:
        return base64.b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except binascii.Error as exc:
        raise ImageError("corrupt_image", f"the base64 of its data: URI is damaged ({exc})") from exc
