"""The process that decodes what may run away: one image after the other, until its parent is gone.

The system ends it as soon as an image has taken its computing time, whatever library is at work. It ends by itself
when nothing has come for a while.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from PIL import Image

from imgcls.errors import ImageError
from imgcls.images.decode_budget import DECODING
from imgcls.images.decoding import DecodedImage, DecodeOptions, decoded_frame
from imgcls.images.frames import FrameFile
from imgcls.images.opening import openable
from imgcls.images.thumbnails import make_thumbnail
from imgcls.images.transform import Transform
from imgcls.images.worker_process.messages import BrokenConversationError, receive, send

IDLE_SEC = 60.0
MOST_BYTES = 2**31


def main() -> None:
    """Answer requests on stdin until it ends; whatever libraries print goes nowhere."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    send(answers, {"ready": True})
    worker = _Worker(requests, answers)
    with contextlib.suppress(BrokenConversationError):
        while True:
            worker.answer_one()
    # Threads of a library must not hold up the end.
    os._exit(0)


@dataclass
class _Worker:
    """What it reads from and writes to, and the file that it keeps open for further frames."""

    requests: IO[bytes]
    answers: IO[bytes]
    file: FrameFile | None = None
    token: int = 0

    def answer_one(self) -> None:
        # On Windows pipes can't be waited for; there it ends with its parent.
        if os.name == "posix" and not select.select([self.requests], [], [], IDLE_SEC)[0]:
            os._exit(0)
        request, content = receive(self.requests, most_bytes=MOST_BYTES)
        with _computing_for(request["limit_sec"]):
            values, answer = self._answer(request, content)
        send(self.answers, values, answer)

    def _answer(self, request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        transform = Transform.from_dict(request["transform"]) if request["transform"] else None
        background = request["options"].pop("background_rgb")
        options = DecodeOptions(**request["options"], background_rgb=background and tuple(background))
        # As in the parent: images inside of images are held to it too.
        Image.MAX_IMAGE_PIXELS = request["pillow_max_pixels"]
        file = self._file(request, content)
        try:
            with DECODING.asking(self._ask_parent), decoded_frame(file, options, frame=request["frame"]) as decoded:
                return _made(decoded, transform, request["thumbnail_px"], is_whole=request["is_whole"])
        except ImageError as exc:
            return {
                "error": [exc.kind, exc.message], "num_frames": file.num_frames, "has_pages": file.has_pages
            }, b""  # fmt: skip
        finally:
            if not request["token"]:
                file.close()

    def _file(self, request: dict[str, Any], content: bytes) -> FrameFile:
        token = request["token"]
        if self.file is not None and (not token or token != self.token):
            self.file.close()
            self.file = None
        if self.file is not None:
            return self.file
        path = request["path"]
        file = FrameFile(content if path is None else Path(path), openable)
        if token:
            self.file, self.token = file, token
        return file

    @contextlib.contextmanager
    def _ask_parent(self, num_bytes: int) -> Iterator[None]:
        """The parent shares out the memory that pixels take; it counts until the answer."""
        send(self.answers, {"needs": num_bytes})
        values, _ = receive(self.requests, most_bytes=0)
        if "error" in values:
            raise ImageError(*values["error"])
        yield


def _made(
    decoded: DecodedImage, transform: Transform | None, thumbnail_px: int, *, is_whole: bool
) -> tuple[dict[str, Any], bytes]:
    thumbnail = make_thumbnail(decoded.image, thumbnail_px) if thumbnail_px else b""
    if is_whole:
        pixels = decoded.image.tobytes()
    else:
        pixels = b"" if transform is None else transform.crop(decoded.image).tobytes()
    values = {
        "width": decoded.width,
        "height": decoded.height,
        "num_frames": decoded.num_frames,
        "has_pages": decoded.has_pages,
        "is_truncated": decoded.is_truncated,
        "orientation": decoded.orientation,
        "num_pixel_bytes": len(pixels),
    }
    return values, pixels + thumbnail


@contextlib.contextmanager
def _computing_for(limit_sec: float) -> Iterator[None]:
    """End this process once it has computed for so long; where the system can't, its parent does."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, limit_sec)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
