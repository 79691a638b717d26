"""Names of inputs: as records show them, and back to the paths and addresses that they stand for."""

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

FILE_URI = "file://"


def given_name(argument: str) -> str:
    """An argument as records show it: its text as given, or a `file://` URI where its bytes aren't UTF-8."""
    return display_name(path_of(argument)) if has_surrogates(argument) else argument


def has_surrogates(text: str) -> bool:
    """Whether a text stands for bytes that aren't UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def is_url(text: str) -> bool:
    """Whether an argument is fetched over the network."""
    return text[:8].lower().startswith(("http://", "https://"))


def path_of(argument: str) -> Path:
    """The path that an argument or a record's `input` names; undoes `display_name`."""
    if not argument.startswith(FILE_URI):
        return Path(argument)
    host, slash, rest = argument[len(FILE_URI) :].partition("/")
    if host not in ("", "localhost"):
        return Path(argument)
    path = os.fsdecode(unquote_to_bytes((slash + rest).encode("utf-8", "surrogateescape")))
    # A drive's letter follows the slash: file:///C:/shots
    return Path(path[1:] if os.name == "nt" else path)


def display_name(path: Path) -> str:
    """A path as records show it: itself, or a `file://` URI where its bytes aren't UTF-8.

    A URI because any URL parser gives the bytes back, no real path is mistaken for one, and imgcls takes it as input.
    """
    text = str(path)
    return path.absolute().as_uri() if has_surrogates(text) else text


def valid_unicode(url: str) -> str:
    """A URL whose bytes outside UTF-8, which Python keeps as lone surrogates, are percent-escaped."""
    return re.sub("[\udc80-\udcff]", lambda match: f"%{ord(match[0]) - 0xDC00:02X}", url)
