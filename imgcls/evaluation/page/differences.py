"""The images on which two models differ, as one page of HTML that needs nothing else."""

import base64
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.errors import ImageError
from imgcls.evaluation.comparison import PairedComparison, PairedImage
from imgcls.evaluation.page.previews import THUMBNAIL_PX, base64_bytes
from imgcls.images.transform import Transform

# Of each kind; a browser draws so many cards at once without a thought, and nobody looks at more.
MOST_IMAGES = 400
BUDGET_BYTES = 12 * 2**20


@dataclass(frozen=True)
class _Card:
    image: PairedImage
    preview: str


def write_differences(part: Path, found: PairedComparison, images: LabelledImages, *, folder: Path, title: str) -> int:
    """Write the page.

    Args:
        part: the file.
        found: both models.
        images: that the first one was measured on.
        folder: where the page will lie.
        title: the data in words.
    Returns:
        How many images it shows.
    """
    import jinja2

    here, base = resources.files("imgcls.evaluation.page"), resources.files("imgcls.outputs.report")
    left_bytes = BUDGET_BYTES
    groups = []
    for name, paired in (("Only A is right", found.only_a), ("Only B is right", found.only_b)):
        cards = []
        for each in paired[:MOST_IMAGES]:
            preview = _preview(found, images, each)
            left_bytes -= base64_bytes(len(preview))
            shown = preview if left_bytes > 0 else b""
            cards.append(_Card(each, base64.b64encode(shown).decode("ascii")))
        groups.append((name, len(paired), cards))
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    text = environment.from_string((here / "differences.html.jinja").read_text("utf-8")).render(
        found=found,
        groups=groups,
        title=title,
        count=len(found.images),
        style=(base / "report.css").read_text("utf-8") + (here / "page.css").read_text("utf-8"),
    )
    part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return sum(len(cards) for _name, _count, cards in groups)


def _preview(found: PairedComparison, images: LabelledImages, each: PairedImage) -> bytes:
    scores = found.report_a.result.scores
    assert scores is not None
    stored, index = images.stored(int(scores.indices_N[each.row_a]))
    try:
        transform = Transform.from_dict(found.report_a.model["transform"])
        return stored.thumbnail(index, transform, side_px=THUMBNAIL_PX).thumbnail or b""
    except ImageError:
        return b""
