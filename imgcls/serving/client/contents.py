"""What a client sends: inputs as sources, and the bytes of each."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from imgcls.errors import ImageError
from imgcls.images.inputs.download import fetch_image
from imgcls.images.inputs.source import Source
from imgcls.images.opening import openable


def sources_of(inputs: "str | Path | bytes | Iterable[str | Path | bytes]") -> Iterator[Source]:
    """What the command line takes, or encoded images, as sources.

    Args:
        inputs: one or several, read as they are needed.
    """
    from imgcls.images.inputs.sources import iterate_sources

    if isinstance(inputs, (str, os.PathLike, bytes)):
        inputs = [inputs]
    for each in inputs:
        if isinstance(each, bytes):
            yield Source("<bytes>", content=each)
        else:
            yield from iterate_sources([str(each)])


def content_of(source: Source, fetch: Callable[[str], bytes] = fetch_image) -> bytes:
    """An encoded image's bytes.

    Args:
        source: the image.
        fetch: turns a URL into bytes.
    Raises:
        ImageError: there are none.
    """
    if source.failure is not None:
        raise source.failure
    if source.url:
        return fetch(source.url)
    if source.content is not None:
        return source.content
    if source.member is not None:
        return source.member.read()
    assert source.path is not None
    try:
        openable(source.path)
        content = source.path.read_bytes()
        if not content:
            raise ImageError("not_an_image", "the file is empty")
        return content
    except FileNotFoundError as exc:
        raise ImageError("not_found", "no such file") from exc
    except PermissionError as exc:
        raise ImageError("permission_denied", "permission denied") from exc
    except OSError as exc:
        raise ImageError("not_found", exc.strerror or str(exc)) from exc
