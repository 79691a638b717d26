"""The options of `imgcls predict`, grouped as its --help shows them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Optional

import typer

from imgcls.cli import options

INPUT = "Which inputs"
OUTPUT = "Output"
LIMITS = "Limits"
SPEED = "Speed against exactness"

# Typer reads these at run time, and asks for Optional where None may stand.
# ruff: noqa: UP045
Inputs = Annotated[
    Optional[list[str]],
    typer.Argument(help="Files, folders, glob patterns, URLs, or - for one image on stdin.", metavar="INPUT..."),
]
FilesFrom = Annotated[
    Optional[str],
    typer.Option(
        "--files-from",
        help="A list of files, folders and URLs, one a line, each taken literally; - for stdin.",
        metavar="FILE",
        rich_help_panel=INPUT,
    ),
]
Null = Annotated[
    bool, typer.Option("--null", "-0", help="The list's entries end with a NUL byte.", rich_help_panel=INPUT)
]
Include = Annotated[
    Optional[list[str]],
    typer.Option(
        "--include",
        help="Of folders, patterns: only names like this, such as '*.png'; may be repeated.",
        metavar="PATTERN",
        rich_help_panel=INPUT,
    ),
]
Exclude = Annotated[
    Optional[list[str]],
    typer.Option(
        "--exclude",
        help="Of folders, patterns: no names like this; may be repeated.",
        metavar="PATTERN",
        rich_help_panel=INPUT,
    ),
]
ShardOption = Annotated[
    Optional[str],
    typer.Option(
        "--shard",
        help="Only share I of N, split by name, the same on every machine.",
        metavar="I/N",
        rich_help_panel=INPUT,
    ),
]
NewerThan = Annotated[
    Optional[str],
    typer.Option(
        "--newer-than",
        help="Only files changed since: an age (36h, 7d), a date, or another file; --resume keeps older records.",
        metavar="WHEN",
        rich_help_panel=INPUT,
    ),
]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, help="How many classes to name.")]
Threshold = Annotated[
    Optional[float],
    typer.Option("--threshold", min=0, max=1, help="Mark answers less probable than this as uncertain."),
]
FormatOption = Annotated[
    Optional[options.Format],
    typer.Option(
        "--format",
        "-f",
        help="How to write the records: table, json, jsonl, csv or parquet; by default as --output's suffix says.",
        metavar="FORMAT",
        rich_help_panel=OUTPUT,
    ),
]
Output = Annotated[
    Optional[Path],
    # Typer would call a file that can't be read a wrong usage; it is an output that can't be written.
    typer.Option(
        "--output",
        "-o",
        help="Write here instead of to stdout.",
        metavar="FILE",
        readable=False,
        rich_help_panel=OUTPUT,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Keep what --output already has of unchanged files; classify the rest (jsonl, csv).",
        rich_help_panel=OUTPUT,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.", rich_help_panel=OUTPUT)]
Html = Annotated[
    Optional[Path],
    typer.Option(
        "--html",
        help="Beside the output, one page to look through: thumbnails, answers, filters. Needs no network.",
        metavar="FILE",
        readable=False,
        rich_help_panel=OUTPUT,
    ),
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images the network sees at once.")]
MaxPixels = Annotated[int, typer.Option("--max-pixels", min=1, help="Refuse larger images.", rich_help_panel=LIMITS)]
ImageTimeout = Annotated[
    float,
    typer.Option(
        "--image-timeout", min=0.001, help="Seconds that one image may take to decode.", rich_help_panel=LIMITS
    ),
]
UrlTimeout = Annotated[
    float, typer.Option("--url-timeout", min=0.001, help="Seconds that one URL may take.", rich_help_panel=LIMITS)
]
UrlMaxMib = Annotated[
    float, typer.Option("--url-max-mib", min=0.001, help="Refuse larger downloads.", rich_help_panel=LIMITS)
]
AllowPrivateUrls = Annotated[
    bool,
    typer.Option(
        "--allow-private-urls",
        help="Let a public server redirect to this machine or to a private network.",
        rich_help_panel=LIMITS,
    ),
]
MaxErrors = Annotated[
    Optional[int],
    typer.Option("--max-errors", min=0, help="Stop when more inputs than this have failed.", rich_help_panel=LIMITS),
]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.", rich_help_panel=LIMITS)]
FastDecode = Annotated[
    bool,
    typer.Option(
        "--fast-decode", help="Scale JPEGs while decoding: faster, answers shift a little.", rich_help_panel=SPEED
    ),
]


class Precision(StrEnum):
    """What `--precision` takes."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


PrecisionOption = Annotated[
    Precision,
    typer.Option(
        "--precision",
        help="bf16 or fp16: faster where the device has it, answers shift a little.",
        rich_help_panel=SPEED,
    ),
]
