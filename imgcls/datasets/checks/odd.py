"""Images that are no use as they are: tiny, very long, blank, dark, bright or blurred, beside those of their set."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from imgcls.datasets.checks.finding import Finding
from imgcls.datasets.checks.look import Look
from imgcls.datasets.checks.scan import Scan

# A side of so few pixels shows little, unless all images of the set are as small.
TINY_PX = 32
TINY_SHARE = 0.25
# How many times as long as wide, and how many times the set's usual ratio.
LONG_RATIO, LONG_TIMES = 4.0, 2.0
# Standard deviation of the grey levels below which nothing is to be seen.
BLANK_CONTRAST = 2.0
DARK, BRIGHT = 20.0, 243.0
# How far from the set's median an image must be, as a share of the median, to be called dark in a dark set.
DARK_SHARE = 1 / 3
# Median absolute deviations below the set's median of the logarithm; 1.4826 makes them standard deviations of a normal
# distribution.
BLUR_DEVIATIONS = 3.5
MAD_TO_STD = 1.4826
# In smaller images, second differences are mostly noise.
BLUR_PX = 64


def unreadable_images(scan: Scan) -> Iterator[Finding]:
    """Files that no command can decode."""
    for place, error in scan.unreadable:
        yield Finding(
            "unreadable",
            place.name,
            f"{error.kind}: {error.message}",
            1.0,
            label=scan.classes[place.label],
            split=place.split,
        )


def odd_images(scan: Scan) -> Iterator[Finding]:
    """Images that differ from the set's usual ones in size, shape, light or sharpness; each is found once."""
    if not scan.looks:
        return
    usual = _Usual(scan.looks)
    for index, (place, look) in enumerate(zip(scan.places, scan.looks, strict=True)):
        found = usual.reason(look)
        if found is not None:
            reason, score = found
            yield Finding("odd", place.name, reason, score, label=scan.label_of(index), split=place.split)


class _Usual:
    """What the set's images mostly look like."""

    def __init__(self, looks: tuple[Look, ...]) -> None:
        self.side_px = float(np.median([min(look.width, look.height) for look in looks]))
        self.ratio = float(np.median([_ratio(look) for look in looks]))
        self.brightness = float(np.median([look.brightness for look in looks]))
        sharp = np.log([max(look.sharpness, 1e-6) for look in looks if min(look.width, look.height) >= BLUR_PX] or [1])
        self.sharpness = float(np.median(sharp))
        self.deviation = max(MAD_TO_STD * _mad(sharp), 1e-3)

    def reason(self, look: Look) -> tuple[str, float] | None:
        """The first thing that is odd about an image, and how odd it is."""
        side, ratio = min(look.width, look.height), _ratio(look)
        if look.contrast < BLANK_CONTRAST:
            return f"blank: its grey levels differ by {look.contrast:.1f} (standard deviation)", 1.0
        if side < TINY_PX and side < self.side_px * TINY_SHARE:
            return f"tiny: {look.width} x {look.height}, usual is {self.side_px:.0f} px", 1 - side / self.side_px
        if ratio > LONG_RATIO and ratio > self.ratio * LONG_TIMES:
            return f"{ratio:.1f} times as long as wide: {look.width} x {look.height}", 1 - self.ratio / ratio
        if look.brightness < DARK and look.brightness < self.brightness * DARK_SHARE:
            return f"dark: mean grey {look.brightness:.0f} of 255", 1 - look.brightness / 255
        if look.brightness > BRIGHT and 255 - look.brightness < (255 - self.brightness) * DARK_SHARE:
            return f"bright: mean grey {look.brightness:.0f} of 255", look.brightness / 255
        if side >= BLUR_PX:
            below = (self.sharpness - np.log(max(look.sharpness, 1e-6))) / self.deviation
            if below > BLUR_DEVIATIONS:
                return f"blurred: {below:.1f} deviations less sharp than usual", float(1 - BLUR_DEVIATIONS / below / 2)
        return None


def _ratio(look: Look) -> float:
    return max(look.width, look.height) / max(min(look.width, look.height), 1)


def _mad(values: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    return float(np.median(np.abs(values - np.median(values))))
