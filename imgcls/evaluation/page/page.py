"""An evaluation as one page of HTML that needs nothing else.

The page holds every image's answer as text, and small images within a budget; in the browser only the cards in view
exist. Its scripts are `cards.js` of predict's page and the files of this folder, one after the other in one function.
"""

import base64
import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

from imgcls.datasets.labelled_images import LabelledImages
from imgcls.evaluation.figures.scores import ImageScores
from imgcls.evaluation.page.figure_words import FIGURES
from imgcls.evaluation.page.previews import Previews, base64_bytes
from imgcls.evaluation.report import EvalReport
from imgcls.outputs.report.page import script_json

BLOCK_RECORDS = 500
BLOCK_THUMBNAILS = 50
# Most probable classes of each image.
ANSWERS = 3
SCRIPTS = ("data.js", "charts.js", "confusion.js", "classes.js", "images.js", "start.js")
# Where the template's output is cut, and the data go.
DATA_MARK, THUMBNAILS_MARK = "<!-- data -->", "<!-- thumbnails -->"
MOST_SKIPPED = 100


@dataclass(frozen=True)
class HeatMap:
    """Where in an image a class was seen; see `imgcls.evaluation.explanations`.

    Attributes:
        label: index of the class.
        height, width: of the map.
        values: a byte for each place, row by row, 255 the strongest.
    """

    label: int
    height: int
    width: int
    values: bytes


@dataclass(frozen=True)
class ExplainedImage:
    """The heat maps of one image.

    Attributes:
        frame: which part of the image the network saw: left, top, width and height, as shares of the whole.
        maps: of its first guess, and of its true class where that is another one.
    """

    frame: tuple[float, float, float, float]
    maps: tuple[HeatMap, ...]


def write_page(
    part: Path,
    report: EvalReport,
    images: LabelledImages,
    previews: Previews,
    *,
    folder: Path,
    explained: dict[int, ExplainedImage] | None = None,
    method: str = "",
    title: str = "",
) -> None:
    """Write the page.

    Args:
        part: the file.
        report: with the scores of its images.
        images: the same images, for their names.
        previews: small ones.
        folder: where the page will lie, from which its links lead.
        explained: by the images' indices in the scores.
        method: that made the heat maps, in words.
        title: what was measured on what, in words.
    """
    scores = report.result.scores
    assert scores is not None
    names = [_name(images, index) for index in scores.indices_N.tolist()]
    prefix = _common_folder(names)
    explained = explained or {}
    run = _facts(report, prefix, folder, previews, len(scores)) | {"method": method}
    head, middle, tail = _render(report, title or report.data.name)
    with part.open("w", encoding="utf-8", newline="\n") as file:
        file.write(head)
        # The head is in the browser's first bytes, so that a large page shows its figures at once.
        file.flush()
        file.write(f'<script type="application/json" id="run">{script_json(run)}</script>\n')
        _write_records(file, scores, [name[len(prefix) :] for name in names])
        maps = {
            row: [
                [round(share, 5) for share in each.frame],
                [
                    [heat.label, heat.height, heat.width, base64.b64encode(heat.values).decode("ascii")]
                    for heat in each.maps
                ],
            ]
            for row, each in explained.items()
        }
        file.write(f'<script type="application/json" id="maps">{script_json(maps)}</script>\n')
        file.write(middle)
        for start in range(0, len(previews.rows), BLOCK_THUMBNAILS):
            lines = [
                base64.b64encode(jpeg).decode("ascii") for jpeg in previews.jpegs[start : start + BLOCK_THUMBNAILS]
            ]
            file.write('<script type="text/plain" class="thumbnails">' + "\n".join(lines) + "</script>\n")
        file.write(tail)


def _name(images: LabelledImages, index: int) -> str:
    stored, row = images.stored(index)
    return stored.name(row)


def _common_folder(names: list[str]) -> str:
    """What all names begin with, up to a separator; empty where some is a URI."""
    if any("://" in name for name in names):
        return ""
    # What the first and the last by alphabet share, all share.
    pairs = enumerate(zip(min(names), max(names), strict=False))
    common = min(names)[: next((at for at, (one, other) in pairs if one != other), None)]
    end = max(common.rfind(mark) for mark in ("/", os.sep, "::"))
    return common[: end + (2 if common[end : end + 2] == "::" else 1)] if end >= 0 else ""


def _facts(report: EvalReport, prefix: str, folder: Path, previews: Previews, count: int) -> dict[str, Any]:
    figures, result = report.figures, report.result
    cells = report.confusions()
    bins = figures.reliability
    return {
        "classes": list(result.labels),
        "count": count,
        "prefix": prefix,
        # Without files of their own, images have nothing to open.
        "link": None if prefix.endswith("::") else _link(prefix, folder),
        "block": BLOCK_THUMBNAILS,
        "thumbnails": previews.rows,
        "thumbnail_bytes": sum(base64_bytes(len(jpeg)) for jpeg in previews.jpegs),
        "confusion": [[cell[place] for cell in cells] for place in range(3)],
        "per_class": [
            [
                each.count,
                each.correct,
                more.guessed,
                *map(_digits, (more.recall, more.precision, more.f1, more.roc_auc, more.average_precision, more.loss)),
                *map(_digits, (more.intervals or {}).get("recall", ())),
            ]
            for each, more in zip(result.classes, figures.classes, strict=True)
        ],
        "reliability": None
        if bins is None
        else [
            [_digits(value) for value in row.tolist()] for row in (bins.counts_M, bins.confidences_M, bins.accuracies_M)
        ],
        "ece": _digits(figures.values.get("ece")),
    }


def _link(prefix: str, folder: Path) -> str:
    if not prefix:
        return ""
    try:
        relative = os.path.relpath(prefix, folder)
    except ValueError:
        # Another drive.
        return Path(prefix).absolute().as_uri() + "/"
    return quote(os.fsencode(relative.replace(os.sep, "/"))) + "/"


def _write_records(file: TextIO, scores: ImageScores, names: list[str]) -> None:
    """Every image: `[name, true class, loss, class, probability, class, probability, ...]`, classes by index."""
    ids, probabilities = scores.top_ids_NT[:, :ANSWERS].tolist(), scores.top_probabilities_NT[:, :ANSWERS].tolist()
    labels, losses = scores.labels_N.tolist(), scores.losses_N.tolist()
    for start in range(0, len(names), BLOCK_RECORDS):
        block = [
            [
                names[row],
                labels[row],
                _digits(losses[row]),
                *(value for pair in zip(ids[row], map(_digits, probabilities[row]), strict=True) for value in pair),
            ]
            for row in range(start, min(start + BLOCK_RECORDS, len(names)))
        ]
        file.write(f'<script type="application/json" class="records">{script_json(block)}</script>\n')


def _digits(value: float | None) -> float | int | None:
    """What a page shows, and not half of what a float would take; None for what is no number."""
    if value is None or not math.isfinite(value):
        return None
    return value if isinstance(value, int) else float(f"{value:.5g}")


def _render(report: EvalReport, title: str) -> tuple[str, str, str]:
    """The page before its data, between them and the thumbnails, and after those."""
    import jinja2

    here, base = resources.files("imgcls.evaluation.page"), resources.files("imgcls.outputs.report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    figures = report.figures
    rows = [
        (figure, figures.values[figure.key], figures.intervals.get(figure.key))
        for figure in FIGURES
        if figures.values.get(figure.key) is not None
    ]
    text = environment.from_string((here / "page.html.jinja").read_text("utf-8")).render(
        title=title,
        report=report,
        result=report.result,
        rows=rows,
        made=datetime.now(UTC),
        skipped=[(str(bad.path), bad.kind, bad.message) for bad in report.skipped[:MOST_SKIPPED]],
        style=(base / "report.css").read_text("utf-8") + (here / "page.css").read_text("utf-8"),
        script="\n".join(each.read_text("utf-8") for each in (base / "cards.js", *(here / name for name in SCRIPTS))),
    )
    head, rest = text.split(DATA_MARK)
    middle, tail = rest.split(THUMBNAILS_MARK)
    return head, middle, tail
