"""`imgcls models`: what `--model` accepts, and which weights are here."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from imgcls.cli import console, options
from imgcls.cli.help.completion import complete_model
from imgcls.errors import ModelError
from imgcls.host.digests import forget_digests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgcls.models.families.family import ListedModel

EXAMPLE = "Example: imgcls models resnet50   or: imgcls models --fetch resnet50"
MARKS = {"here": "here", "absent": "-", "damaged": "DAMAGED"}


def models(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only these; patterns such as 'resnet*' too; by default all.",
            metavar="[NAME]...",
            autocompletion=complete_model,
        ),
    ] = None,
    fetch: Annotated[
        list[str] | None,
        typer.Option(
            "--fetch",
            help="Download these weights now, and make their ONNX twins; more names may follow.",
            metavar="NAME",
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash all weights again; damaged ones end with code 6.")
    ] = False,
    source: Annotated[
        str, typer.Option("--source", help="Only bundled, imagenet, torchvision or timm models.", metavar="NAME")
    ] = "",
    format_: options.ReportFormatOption = options.ReportFormat.TABLE,
    quiet: options.Quiet = False,
) -> None:
    """List what --model accepts beside paths: parameters, size, published accuracy, whether the weights are here."""
    console.quiet = quiet
    from imgcls.models.registry import SCHEMA

    if verify:
        forget_digests()

    wanted = [*(fetch or ()), *(names or ())]
    listed = _choose(wanted, source)
    if fetch:
        _fetch(listed)
        listed = _choose(wanted, source)
    if format_ is options.ReportFormat.JSON:
        console.data(json.dumps({"schema": SCHEMA, "models": [each.to_dict() for each in listed]}, ensure_ascii=False))
    else:
        console.data(_table(listed))
    damaged = [each for each in listed if each.weights == "damaged"]
    if verify and damaged:
        found = ", ".join(each.name for each in damaged)
        raise ModelError(f"damaged weights: {found}", hint=f"delete {damaged[0].path}, and it is fetched again")
    if not wanted and format_ is options.ReportFormat.TABLE:
        console.message(
            "--model also takes a checkpoint, a run folder, or an .onnx file; --fetch NAME downloads weights"
        )


def _choose(wanted: list[str], source: str) -> "list[ListedModel]":
    from imgcls.models.registry import list_models, nearest_name

    if not wanted:
        return list(list_models(source=source))
    found: dict[str, ListedModel] = {}
    for name in wanted:
        fitting = {each.name: each for each in list_models(name, source=source)}
        if not fitting:
            meant = nearest_name(name)
            said = f"; did you mean {meant}?" if meant else ""
            raise ModelError(f"unknown model {name!r}{said}", hint="imgcls models lists the names")
        found |= fitting
    return list(found.values())


def _fetch(listed: "list[ListedModel]") -> None:
    from imgcls.models.registry import find_family

    for each in listed:
        family = find_family(each.name)
        if family is None:
            # A bundled checkpoint is always here.
            continue
        entry = family.entry(each.name)
        try:
            with console.download_progress(f"the weights of {each.name}") as progress:
                family.weights_file(entry, progress=progress)
        except ModelError as exc:
            if family.weights_state(entry) != "absent":
                raise
            elsewhere = "or copy it from a machine with a network, where the same command fetches it"
            raise ModelError(exc.message, hint=f"{exc.hint}, {elsewhere}") from exc
    from imgcls.host.accelerator_signs import may_have_accelerator
    from imgcls.twins.runtime import can_make_twins

    if can_make_twins() and not may_have_accelerator():
        _make_twins(each.name for each in listed)


def _make_twins(names: "Iterable[str]") -> None:
    """So that the first photograph is answered without PyTorch; weights without a twin are fetched all the same."""
    from imgcls.errors import ImgclsError
    from imgcls.inference.backends.backend import LoadOptions, load_backend

    for name in names:
        try:
            load_backend(name, LoadOptions(device="cpu", runtime="onnx", on_step=console.message))
        except ImgclsError as exc:
            console.message(f"no ONNX twin of {name}, so PyTorch will be used: {exc.message}")


def _table(listed: "list[ListedModel]") -> str:
    rows = [("name", "parameters", "MiB", "top-1", "top-5", "data", "weights")]
    rows += [
        (
            each.name,
            f"{each.num_params:,}" if each.num_params is not None else "?",
            f"{each.size_mib:.1f}" if each.size_mib is not None else "?",
            f"{each.top1:.2%}" if each.top1 is not None else "?",
            f"{each.top5:.2%}" if each.top5 is not None else "?",
            each.data or "?",
            MARKS[each.weights],
        )
        for each in listed
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    # Names and words begin at the left, numbers end at the right.
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in (0, 5, 6) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
