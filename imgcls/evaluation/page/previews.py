"""Small images for the page of an evaluation, within a budget of bytes.

Shapes: N images.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.errors import ImageError
from imgcls.evaluation.figures.scores import ImageScores, Integers
from imgcls.host.resources import available_cores
from imgcls.images.transform import Transform

THUMBNAIL_PX = 128
# Of the page: what a browser opens without a thought, and an e-mail's attachment just about holds.
BUDGET_BYTES = 24 * 2**20
# Images that are made small at a time: what does not fit any more was made for nothing.
CHUNK = 64


@dataclass(frozen=True)
class Previews:
    """Small images of those that matter most.

    Attributes:
        rows: whose they are, as indices in the scores.
        jpegs: one for each of `rows`; empty where the file has gone since.
        sizes: width and height of the upright image, in pixels, for each of `rows`.
    """

    rows: list[int]
    jpegs: list[bytes]
    sizes: list[tuple[int, int]]


def by_interest(scores: ImageScores) -> Integers:
    """Images in the order in which a person wants to see them: confident mistakes, then doubtful hits."""
    confidences_N = np.nan_to_num(scores.confidences_N)
    keys_N = np.where(scores.correct_N, confidences_N, -1 - confidences_N)
    return np.argsort(keys_N, kind="stable")


def make_previews(
    images: LabelledImages,
    scores: ImageScores,
    transform: Transform,
    *,
    budget_bytes: int = BUDGET_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Previews:
    """Make images small, the most interesting first, until the budget is used up.

    Args:
        images: the set.
        scores: of its images.
        transform: how transparent and deep images become RGB.
        budget_bytes: for the JPEGs as the page holds them, in base64.
        progress: called with previews made and images in all.
    """
    previews = Previews([], [], [])
    used = 0
    for row, jpeg, size in _made(images, scores, transform):
        used += base64_bytes(len(jpeg))
        if used > budget_bytes:
            break
        previews.rows.append(row)
        previews.jpegs.append(jpeg)
        previews.sizes.append(size)
        if progress is not None and len(previews.rows) % CHUNK == 0:
            progress(len(previews.rows), len(scores))
    return previews


def base64_bytes(num_bytes: int) -> int:
    """What so many bytes take in base64, with the line's end."""
    return -(-num_bytes // 3) * 4 + 1


def _made(
    images: LabelledImages, scores: ImageScores, transform: Transform
) -> Iterator[tuple[int, bytes, tuple[int, int]]]:
    order = by_interest(scores).tolist()

    def small(row: int) -> tuple[int, bytes, tuple[int, int]]:
        stored, index = images.stored(int(scores.indices_N[row]))
        try:
            made = stored.thumbnail(index, transform, side_px=THUMBNAIL_PX)
        except ImageError:
            return row, b"", (0, 0)
        return row, made.thumbnail or b"", (made.width, made.height)

    chunks = [order[start : start + CHUNK] for start in range(0, len(order), CHUNK)]
    with ThreadPoolExecutor(available_cores(), thread_name_prefix="preview") as pool:
        waiting = [pool.submit(lambda rows: [small(row) for row in rows], chunk) for chunk in chunks[:4]]
        for number in range(len(chunks)):
            found = waiting.pop(0).result()
            if number + 4 < len(chunks):
                waiting.append(pool.submit(lambda rows: [small(row) for row in rows], chunks[number + 4]))
            yield from found
