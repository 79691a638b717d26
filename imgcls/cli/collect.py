"""`imgcls collect`: the parts of a run on a cluster as one output."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from imgcls.cli import console, options
from imgcls.cli.help.option_groups import grouped
from imgcls.cli.predict.output import format_option
from imgcls.errors import OutputError
from imgcls.images.object_storage.urls import StorageOptions, is_object_url

EXAMPLE = "Example: imgcls collect out/ -o all.jsonl   or: imgcls collect s3://bucket/out -f csv | head"


@grouped
def collect(
    folder: Annotated[
        str, typer.Argument(help="The folder that predict --ray wrote, here or in object storage.", metavar="FOLDER")
    ],
    format_: Annotated[str | None, format_option()] = None,
    output: options.Output = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    csv_safe: Annotated[
        bool, typer.Option("--csv-safe", help="In CSV, put ' before cells that a spreadsheet would run as a formula.")
    ] = False,
    endpoint_url: Annotated[
        str | None,
        typer.Option("--endpoint-url", help="Server for s3://, where it isn't Amazon's.", metavar="URL"),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Join the parts of a finished predict --ray run into one file, in the order of the inputs."""
    console.quiet = quiet
    from imgcls.inference.cluster.collecting import collect as collect_parts
    from imgcls.inference.cluster.parts import PartFolder
    from imgcls.outputs.destination import Destination, format_of

    place = folder if is_object_url(folder) else os.path.abspath(folder)  # noqa: PTH100 - links stay what they are
    path = None if output == Path("-") else output
    destination = Destination(
        format_ or format_of(path),
        path,
        overwrite=overwrite,
        colour=console.stdout_has_colour(),
        stream=sys.stdout.buffer if sys.stdout is not None else None,
        csv_safe=csv_safe,
    )
    destination.check()
    if path is None:
        if sys.stdout is None:
            raise OutputError("stdout is closed", hint="name a file with --output")
        console.use_utf8_stdout()
    summary = collect_parts(PartFolder(place, StorageOptions(endpoint_url)), destination)
    console.message(str(summary))
