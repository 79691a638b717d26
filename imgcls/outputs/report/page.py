"""A run as one page of HTML that needs nothing else: images, answers, filters.

The page is written as records come, so that memory doesn't grow with their number: head, records in blocks, end. In the
browser only the cards in view exist; the rest stays text. See `report.js` for what reads it.
"""

import base64
import contextlib
import json
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO

from imgcls.host.files import output_error, remove_stale_parts, replacing
from imgcls.host.resources import available_cores
from imgcls.images.transform_values import colour_text
from imgcls.outputs.formats.values import record_of
from imgcls.outputs.origin import Origin
from imgcls.outputs.record import ImageRecord, KeptRecord
from imgcls.outputs.report.entries import Entry, entry_of, with_thumbnail
from imgcls.outputs.summary import Summary

# Records a block: the browser cuts out one block's thumbnails (some 150 KiB) to show the first of them.
BLOCK_RECORDS = 50
# Kept records whose thumbnails are being made; beyond, the run waits for the oldest.
MAX_PENDING = 64
# Where the template's output is cut, and the records go.
RECORDS_MARK = "<!-- records -->"


class _NotEnded(Exception):  # noqa: N818 - it unwinds, and nobody sees it
    """Tells `replacing` that a page isn't whole."""


class HtmlReport:
    """An output writer that makes the page; a context manager that removes a page that was not finished.

    Args:
        path: the page.
        origin: of the answers.
    """

    def __init__(self, path: Path, origin: Origin) -> None:
        self._path = path
        self._origin = origin
        self._stack = contextlib.ExitStack()
        self._file: TextIO | None = None
        self._tail = ""
        self._has_ended = False
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Entry | Future[Entry]] = deque()
        self._block: list[Entry] = []

    def __enter__(self) -> Self:
        """Nothing is opened before the first record."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Where no end came, as after an error, leave what was there before."""
        with contextlib.suppress(_NotEnded), self._stack:
            if not self._has_ended:
                raise _NotEnded

    def add(self, record: ImageRecord | KeptRecord) -> None:
        """Take the next record.

        Raises:
            OutputError: the page can't be written.
        """
        try:
            file = self._file or self._open()
            self._pending.append(self._entry(record))
            while self._pending and (len(self._pending) > MAX_PENDING or _is_ready(self._pending[0])):
                self._take(self._pending.popleft(), file)
        except OSError as exc:
            raise output_error(self._path, exc, option="--html") from exc

    def finish(self, summary: Summary) -> None:
        """Put the whole page into place; a run without a record leaves none."""
        self._end("finished")

    def abandon(self, summary: Summary) -> None:
        """The page shows what is done, and says that there is more."""
        self._end("interrupted")

    def _entry(self, record: ImageRecord | KeptRecord) -> Entry | Future[Entry]:
        folder = self._path.absolute().parent
        if isinstance(record, ImageRecord):
            return entry_of(record, folder)
        if self._pool is None:
            self._pool = self._stack.enter_context(ThreadPoolExecutor(available_cores(), "thumbnails"))
        whole, max_pixels = replace(record_of(record.values), input=record.input), self._origin.max_pixels
        return self._pool.submit(lambda: entry_of(with_thumbnail(whole, max_pixels=max_pixels), folder))

    def _open(self) -> TextIO:
        remove_stale_parts(self._path)
        part = self._stack.enter_context(replacing(self._path, option="--html"))
        self._file = self._stack.enter_context(part.open("w", encoding="utf-8", newline="\n"))
        head, self._tail = _render(self._origin).split(RECORDS_MARK)
        self._file.write(head)
        # The head is in the browser's first bytes, so that a large page shows its title at once.
        self._file.flush()
        return self._file

    def _take(self, entry: Entry | Future[Entry], file: TextIO) -> None:
        self._block.append(entry.result() if isinstance(entry, Future) else entry)
        if len(self._block) == BLOCK_RECORDS:
            self._write_block(file)

    def _write_block(self, file: TextIO) -> None:
        records = script_json([entry.values for entry in self._block])
        thumbnails = "\n".join(base64.b64encode(entry.thumbnail).decode("ascii") for entry in self._block)
        file.write(f'<script type="application/json" class="records">{records}</script>\n')
        file.write(f'<script type="text/plain" class="thumbnails">{thumbnails}</script>\n')
        self._block.clear()

    def _end(self, status: Literal["finished", "interrupted"]) -> None:
        if self._file is None:
            return
        self._has_ended = True
        with self._stack:
            try:
                while self._pending:
                    self._take(self._pending.popleft(), self._file)
                self._write_block(self._file)
                run = {
                    "status": status,
                    "block": BLOCK_RECORDS,
                    "top_k": self._origin.top_k,
                    "threshold": self._origin.threshold,
                    "classes": list(self._origin.classes),
                }
                self._file.write(f'<script type="application/json" id="run">{script_json(run)}</script>\n')
                self._file.write(self._tail)
                self._file.flush()
            except OSError as exc:
                raise output_error(self._path, exc, option="--html") from exc


def script_json(values: Any) -> str:
    """JSON that can stand inside a script element, whatever its strings hold; plain ASCII."""
    text = json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    # These occur in strings only, where JSON reads the escape as the character.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _is_ready(entry: Entry | Future[Entry]) -> bool:
    return not isinstance(entry, Future) or entry.done()


def _render(origin: Origin) -> str:
    """The page without its records."""
    import jinja2

    here = resources.files("imgcls.outputs.report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string((here / "report.html.jinja").read_text("utf-8")).render(
        model=origin.model,
        transform=_in_words(origin),
        started=datetime.now(UTC),
        device=origin.device,
        versions=origin.versions,
        style=(here / "report.css").read_text("utf-8"),
        script="\n".join((here / name).read_text("utf-8") for name in ("cards.js", "report.js")),
    )


def _in_words(origin: Origin) -> str:
    transform = origin.transform
    mean, std = (" ".join(f"{number:g}" for number in numbers) for numbers in (transform.mean, transform.std))
    height, width = transform.size_px
    size = f"{height}" if height == width else f"{height} x {width}"
    how = {"crop": f"shorter side to {transform.resize_px}", "squash": "distorted to", "pad": "whole image padded to"}
    words = f"{how[transform.resize]} px ({transform.interpolation}), centre {size} px"
    words += f"; {transform.channels}, white {transform.scale}, mean {mean}, std {std}"
    trained = {
        "background": transform.background_rgb and colour_text(transform.background_rgb),
        "depth_bits": transform.depth_bits,
        "truncated": "accept" if transform.accepts_truncated else "error",
    }
    told = trained | origin.decoding
    if told["background"]:
        words += f"; {told['background']} behind transparent images"
    if told["depth_bits"]:
        words += f"; deep greys of {told['depth_bits']} bits"
    if told["truncated"] == "accept":
        words += "; JPEGs without their last bytes accepted"
    if told.get("all_frames"):
        words += "; each frame and page"
    return words + ("; JPEGs scaled while decoding" if origin.fast_decode else "")
