"""The findings of a check for people: a section per kind, the worst first."""

from itertools import groupby
from typing import TYPE_CHECKING

from imgcls.datasets.checks.finding import Finding
from imgcls.host.terminal_text import counted, printable

if TYPE_CHECKING:
    from imgcls.datasets.checks.run import CheckReport

# Of each kind; all are in JSON, in the list of fixes and on the page.
SHOWN = 8
TITLES = {
    "unreadable": "can't be read",
    "odd": "odd images",
    "duplicate": "exact copies",
    "near_duplicate": "near copies",
    "conflict": "the same image under two classes",
    "leakage": "leaks between splits",
    "label": "labels that look wrong",
    "imbalance": "small classes",
    "class_name": "class names that look alike",
    "orientation": "EXIF orientation",
    "shortcut": "shortcuts",
}


def render_findings(report: "CheckReport", *, colour: bool) -> str:
    """The whole answer as text.

    Args:
        report: what was found.
        colour: whether the terminal shows colours.
    """
    bold, dim, off = ("\x1b[1m", "\x1b[2m", "\x1b[0m") if colour else ("", "", "")
    images = ", ".join(f"{split} {count:,}" for split, count in report.counts.items())
    classes = counted(len(report.classes), "class", plural="classes")
    lines = [f"{bold}{printable(report.data)}{off}  {classes}; images: {images}"]
    for kind, group in groupby(report.findings, key=lambda finding: finding.kind):
        findings = list(group)
        lines += ["", f"{bold}{TITLES[kind]}: {len(findings):,}{off}  {dim}{kind}{off}"]
        worst = sorted(findings, key=lambda finding: -finding.score)
        for finding in worst[:SHOWN]:
            lines += _lines(finding, dim, off)
        if len(findings) > SHOWN:
            lines.append(f"  {dim}and {len(findings) - SHOWN:,} more (-f json, --html){off}")
    if not report.findings:
        lines += ["", "nothing found"]
    return "\n".join(lines)


def _lines(finding: Finding, dim: str, off: str) -> list[str]:
    lines = [f"  {finding.score:4.2f}  {printable(finding.input)}", f"        {dim}{printable(finding.reason)}{off}"]
    if finding.other is not None and finding.kind not in ("imbalance", "class_name"):
        lines.append(f"        {dim}= {printable(finding.other)}{off}")
    return lines
