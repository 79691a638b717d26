"""The findings of a data-set check as one page of HTML that needs nothing else."""

import base64
from collections.abc import Iterator
from importlib import resources
from itertools import groupby
from pathlib import Path
from typing import Any

from imgcls.datasets.checks.finding import Finding
from imgcls.datasets.checks.run import CheckReport
from imgcls.host.files import replacing
from imgcls.host.terminal_text import counted
from imgcls.images.cropping import thumbnail_of
from imgcls.images.decoding import DEFAULT_MAX_PIXELS

# Findings of each kind that are shown with their images: some 5 KiB each.
SHOWN = 300
THUMBNAIL_PX = 128
TITLES = {
    "unreadable": "Can't be read",
    "odd": "Odd images",
    "duplicate": "Exact copies",
    "near_duplicate": "Near copies",
    "conflict": "The same image under two classes",
    "leakage": "Leaks between splits",
    "label": "Labels that look wrong",
    "imbalance": "Small classes",
    "class_name": "Class names that look alike",
    "orientation": "EXIF orientation",
    "shortcut": "Shortcuts",
}


def write_findings_page(report: CheckReport, path: Path) -> None:
    """Write the page whole or not at all.

    Args:
        report: what was found.
        path: the page; replaced when it is there.
    Raises:
        OutputError: it can't be written.
    """
    from jinja2 import Environment, StrictUndefined

    text = resources.files("imgcls.outputs.report").joinpath("findings.html.jinja").read_text(encoding="utf-8")
    template = Environment(autoescape=True, undefined=StrictUndefined).from_string(text)
    sections = [
        {"kind": kind, "title": TITLES[kind], "count": len(members), "shown": [*map(_card, members[:SHOWN])]}
        for kind, members in _by_kind(report)
    ]
    facts = {
        "images": ", ".join(f"{split} {count:,}" for split, count in report.counts.items()),
        "classes": counted(len(report.classes), "class", plural="classes"),
        "backbone": report.backbone or "none",
        "seed": report.seed,
        "versions": ", ".join(f"{name} {version}" for name, version in report.versions.items()),
    }
    with replacing(path, option="--html") as part:
        part.write_text(
            template.render(data=report.data, sections=sections, facts=facts, warnings=report.warnings, most=SHOWN),
            encoding="utf-8",
        )


def _by_kind(report: CheckReport) -> Iterator[tuple[str, list[Finding]]]:
    for kind, group in groupby(report.findings, key=lambda finding: finding.kind):
        yield kind, sorted(group, key=lambda finding: -finding.score)


def _card(finding: Finding) -> dict[str, Any]:
    names = [finding.input] if finding.other is None else [finding.input, finding.other]
    images = [{"name": name, "data": data} for name in names if (data := _thumbnail(name))]
    return {"finding": finding, "images": images, "names": names}


def _thumbnail(name: str) -> str:
    path = Path(name)
    if not path.is_file():
        return ""
    made = thumbnail_of(path, max_pixels=DEFAULT_MAX_PIXELS, side_px=THUMBNAIL_PX)
    return base64.b64encode(made.thumbnail).decode("ascii") if made and made.thumbnail else ""
