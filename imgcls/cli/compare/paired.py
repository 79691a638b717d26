"""`imgcls compare A B --data DIR`: two models on the same images."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from imgcls.cli import console, options
from imgcls.errors import UsageError
from imgcls.host.data_files import json_text

if TYPE_CHECKING:
    from imgcls.datasets.labelled_images import LabelledImages
    from imgcls.evaluation.comparison import PairedComparison
    from imgcls.evaluation.report import EvalReport

PANEL = "Two models on the same images"


class PairedOptions(NamedTuple):
    """What of the command line compares two models; see each option's help."""

    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Measure the two models on these images, and count on which they differ.",
            metavar="DATA",
            rich_help_panel=PANEL,
        ),
    ] = None
    split: Annotated[
        str | None,
        typer.Option("--split", help="train, val or test, as eval has it.", metavar="SPLIT", rich_help_panel=PANEL),
    ] = None
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            help="Also write a page with the images on which they differ.",
            metavar="FILE",
            readable=False,
            rich_help_panel=PANEL,
        ),
    ] = None
    device: Annotated[
        str,
        typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps or xpu.", metavar="DEVICE", rich_help_panel=PANEL),
    ] = "auto"
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, help="Images per forward pass; by default by their size.",
                     rich_help_panel=PANEL),
    ] = None  # fmt: skip
    allow_modified_data: Annotated[
        bool,
        typer.Option(
            "--allow-modified-data",
            help="Accept CIFAR-10 files with other checksums than the published ones.",
            rich_help_panel=PANEL,
        ),
    ] = False

    def check(self, models: Sequence[Path], plot: Path | None) -> None:
        """See that the options go together.

        Raises:
            UsageError: there are not two models to measure, or options of the other kind of comparison.
        """
        if self.data is None:
            if self.html is not None or self.split is not None:
                raise UsageError("--html and --split go with --data", hint="imgcls compare A B --data DIR")
            return
        if len(models) != 2:
            raise UsageError(
                f"--data compares two models, and {len(models)} {'is' if len(models) == 1 else 'are'} named",
                hint="imgcls compare runs/a runs/b --data DIR",
            )
        if plot is not None:
            raise UsageError("--plot draws the curves of runs", hint="leave out --data, or --plot")

    def run(self, models: Sequence[str], format_: options.ReportFormat) -> None:
        """Measure both models and say how they differ.

        Raises:
            ImgclsError: a model or the data can't be used.
        """
        from imgcls.cli.compare.table import paired_table
        from imgcls.evaluation.comparison import pair_up
        from imgcls.host.files import replacing

        with contextlib.ExitStack() as stack:
            # Opened first: a folder that can't be written must not be found out after an hour's work.
            part = None if self.html is None else stack.enter_context(replacing(self.html, option="--html"))
            (report_a, images_a), (report_b, images_b) = (self._measure(model) for model in models)
            found = pair_up(report_a, images_a, report_b, images_b)
            if found.num_left_out:
                console.warn(f"{found.num_left_out:,} images were measured by one of the two models only; left out")
            if part is not None and self.html is not None:
                self._write_page(part, self.html, found, images_a)
        console.use_utf8_stdout()
        if format_ is options.ReportFormat.JSON:
            console.data(json_text(found.to_dict()))
        else:
            console.data(paired_table(found, colour=console.stdout_has_colour()))

    def _measure(self, spec: str) -> "tuple[EvalReport, LabelledImages]":
        from imgcls.datasets.opening import Opening
        from imgcls.evaluation.data import open_data_for
        from imgcls.evaluation.placement import placed
        from imgcls.evaluation.run import evaluate_model
        from imgcls.host.devices import choose_device
        from imgcls.models.loading import load_model

        with console.download_progress(f"the weights of {spec}") as downloading:
            loaded = load_model(spec, progress=downloading)
        loaded, place = placed(loaded, self.device, choose_device(self.device).device)
        with console.download_progress("CIFAR-10") as downloading:
            data = open_data_for(
                loaded,
                self.data,
                split=self.split,
                opening=Opening(transform=loaded.transform),
                allow_modified=self.allow_modified_data,
                download_progress=downloading,
            )
        for text in data.warnings:
            console.warn(text)
        report = evaluate_model(loaded, data.images, device=place, batch_size=self.batch_size, warnings=data.warnings)
        if report.skipped:
            console.warn(f"{spec}: {len(report.skipped):,} images can't be read; left out")
        return report, data.images

    def _write_page(self, part: Path, path: Path, found: "PairedComparison", images: "LabelledImages") -> None:
        from imgcls.cli.evaluate.table import describe_data
        from imgcls.evaluation.page.differences import write_differences

        shown = write_differences(
            part, found, images, folder=path.absolute().parent, title=describe_data(found.report_a.data)
        )
        console.message(f"wrote {path} ({part.stat().st_size / 2**20:.1f} MiB; {shown:,} images)")
