"""What a caller may choose of a prediction, checked before any work."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imgcls.errors import UsageError
from imgcls.images.decoding import DEFAULT_MAX_PIXELS
from imgcls.images.inputs.download import fetch_image
from imgcls.images.transform_values import MOST_DEPTH_BITS, RGB, colour_text


@dataclass(frozen=True, slots=True)
class PredictSettings:
    """What shapes an answer, and what an image may cost.

    Attributes:
        top_k: how many classes a record names.
        batch_size: inputs the model sees at once, at most.
        num_threads: that decode; None for one per core.
        max_pixels: larger images are refused.
        decode_limit_sec: how long one image may take to decode.
        fetch_limit_sec: how long one URL may take to fetch.
        threshold: answers less probable are marked uncertain; None marks none.
        fast_decode: scale JPEGs while decoding them: faster, and slightly other answers.
        thumbnail_px: side of the thumbnails that records carry, 0 for none.
        keeps_crops: whether records carry what the network saw, for explanations.
        is_padded: whether an answer depends to its last digit on the image alone, and not on which others it shares
            a batch with; part-full batches then cost as much as full ones.
        all_frames: a stream gives a record for each frame or page of a file, in their order; else of the first alone.
        only_classes: names of the classes to choose among; empty for all.
        accepts_single: say of each answer whether its set of labels holds a single one, and so needs no person.
        accepts_truncated: whether JPEGs that lack their last bytes are classified too, and marked; None as the model
            was trained.
        background_rgb: what lies behind transparent images, in the place of what the model was trained with.
        depth_bits: how many bits deep grey images use, likewise.
        fetch: turns a URL into bytes.
        on_smaller_batch: called with the new batch size when the device's memory doesn't hold the one asked for.
    Raises:
        UsageError: a value is out of range.
    """

    top_k: int = 5
    batch_size: int = 32
    num_threads: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    decode_limit_sec: float = 120.0
    fetch_limit_sec: float = 60.0
    threshold: float | None = None
    fast_decode: bool = False
    thumbnail_px: int = 0
    keeps_crops: bool = False
    is_padded: bool = False
    all_frames: bool = False
    only_classes: tuple[str, ...] = ()
    accepts_single: bool = False
    accepts_truncated: bool | None = None
    background_rgb: RGB | None = None
    depth_bits: int | None = None
    fetch: Callable[[str], bytes] = fetch_image
    on_smaller_batch: Callable[[int], None] = lambda _size: None

    @property
    def decoding(self) -> dict[str, object]:
        """Those options of decoding that were asked for beyond what has always been; they shape answers."""
        told = {
            "all_frames": self.all_frames or None,
            "classes": list(self.only_classes) or None,
            "accept_if": "single" if self.accepts_single else None,
            "truncated": None if self.accepts_truncated is None else "accept" if self.accepts_truncated else "error",
            "background": colour_text(self.background_rgb) if self.background_rgb is not None else None,
            "depth_bits": self.depth_bits,
        }
        return {name: value for name, value in told.items() if value is not None}

    def __post_init__(self) -> None:
        """Refuse values that mean nothing."""
        for name in ("top_k", "batch_size", "max_pixels"):
            check_count(name, getattr(self, name))
        if self.num_threads is not None:
            check_count("num_threads", self.num_threads)
        if self.depth_bits is not None:
            check_count("depth_bits", self.depth_bits)
            if self.depth_bits > MOST_DEPTH_BITS:
                raise UsageError(
                    f"depth_bits is at most {MOST_DEPTH_BITS}, not {self.depth_bits}", hint="depth_bits=12"
                )
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold must be a probability, 0 to 1, not {self.threshold!r}", hint="threshold=0.5")


def check_count(name: str, value: object) -> None:
    """Refuse what isn't a whole number of at least 1.

    Raises:
        UsageError: names the argument and the value.
    """
    # NumPy's whole numbers count too; True is none.
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise UsageError(f"{name} must be a whole number of at least 1, not {value!r}", hint=f"{name}=1")
