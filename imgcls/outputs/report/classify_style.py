"""The style that the pages which classify share: the server's and the exported site's."""

from pathlib import Path

SHARED = Path(__file__).parent / "classify.css"


def with_shared_style(own: bytes) -> bytes:
    """A page's stylesheet: the shared rules, then its own.

    Args:
        own: in UTF-8.
    """
    return SHARED.read_bytes() + own
