"""One image on its way through the server, and why it may come back without a record."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from imgcls.images.inputs.source import Source
from imgcls.inference.decoder import Decoded
from imgcls.outputs.record import ImageRecord


class RefusedError(Exception):
    """An image that the server has no time for.

    Args:
        reason: in words.
        retry_after_sec: when another try makes sense.
    """

    def __init__(self, reason: str, *, retry_after_sec: float = 1.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_sec = retry_after_sec


@dataclass(eq=False, slots=True)
class Job:
    """One image.

    Attributes:
        source: the image.
        top_k: how many classes its record names.
        threshold: below which an answer is marked uncertain, or None.
        deadline: time.monotonic() after which nobody wants the answer.
        on_done: called once, by a thread of the engine, with the job; must be quick.
        admitted, decoding, decoded_at, classified, done: time.monotonic() at each step; 0 before it.
        decoded: its crop, or the reason why not.
        record: its answer.
        failure: why there is none.
        batch_size: of the batch that it was part of.
        is_cancelled: whether nobody waits any more.
    """

    source: Source
    top_k: int
    threshold: float | None
    deadline: float
    on_done: "Callable[[Job], None]"
    admitted: float = field(default_factory=time.monotonic)
    decoding: float = 0.0
    decoded_at: float = 0.0
    classified: float = 0.0
    done: float = 0.0
    decoded: Decoded | None = None
    record: ImageRecord | None = None
    failure: Exception | None = None
    batch_size: int = 0
    is_cancelled: bool = False

    def is_wanted(self, now: float) -> bool:
        """Whether somebody waits for it, and may still be answered in time."""
        return not self.is_cancelled and now < self.deadline
