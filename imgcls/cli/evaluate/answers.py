"""What `imgcls eval` answers with: the report as text, each image's answer, the page."""

from pathlib import Path
from typing import TYPE_CHECKING

from imgcls.cli import console, options
from imgcls.cli.evaluate.options import AnswerOptions, Order
from imgcls.cli.progress_bars import count_progress
from imgcls.host.data_files import json_text

if TYPE_CHECKING:
    import torch

    from imgcls.datasets.labelled_images import LabelledImages
    from imgcls.evaluation.multi_label.report import MultiLabelReport
    from imgcls.evaluation.report import EvalReport
    from imgcls.models.loaded_model import LoadedModel


def write_answers(
    part: Path,
    suffix: str,
    found: "EvalReport | MultiLabelReport",
    images: "LabelledImages",
    answer: AnswerOptions,
) -> None:
    """Each image's answer, the file of --errors.

    Args:
        part: where to write it.
        suffix: of the file's name, which says its format.
        found: the report, with the scores of each image.
        images: that were measured.
        answer: the options.
    """
    from imgcls.evaluation.answers import order_of, rows, write_rows
    from imgcls.evaluation.multi_label.report import MultiLabelReport

    def name_of(index: int) -> str:
        stored, row = images.stored(index)
        return stored.name(row)

    if isinstance(found, MultiLabelReport):
        found.write_rows(part, suffix, name_of, by_loss=answer.sort is Order.LOSS)
        return
    scores = found.result.scores
    assert scores is not None
    order_N = order_of(scores, by_loss=answer.sort is Order.LOSS)
    num_answers = scores.top_ids_NT.shape[1]
    write_rows(part, suffix, rows(scores, found.result.labels, name_of, order_N), num_answers=num_answers)


def write_html_page(
    part: Path,
    answer: AnswerOptions,
    found: "EvalReport",
    images: "LabelledImages",
    loaded: "LoadedModel",
    place: "torch.device",
) -> None:
    """The page of --html, with previews and heat maps.

    Args:
        part: where to write it.
        answer: the options.
        found: the report, with the scores of each image.
        images: that were measured.
        loaded: the model.
        place: where it runs.
    """
    from imgcls.cli.evaluate.table import describe_data
    from imgcls.evaluation.page.heat_maps import explain_images, explainer_of, usual_count
    from imgcls.evaluation.page.page import write_page
    from imgcls.evaluation.page.previews import make_previews

    scores, path = found.result.scores, answer.html
    assert scores is not None
    assert path is not None
    with count_progress("making previews") as making:
        previews = make_previews(images, scores, loaded.transform, progress=making)
    with count_progress("explaining") as explaining:
        explained, method = explain_images(
            images,
            scores,
            previews,
            loaded,
            explainer_of(loaded, place),
            count=usual_count(loaded) if answer.heat_maps is None else answer.heat_maps,
            progress=explaining,
        )
    write_page(
        part,
        found,
        images,
        previews,
        folder=path.absolute().parent,
        explained=explained,
        method=method,
        title=describe_data(found.data),
    )
    console.message(
        f"wrote {path} ({part.stat().st_size / 2**20:.1f} MiB; previews of {len(previews.rows):,} images, heat maps of "
        f"{len(explained):,})"
    )


def answer_text(found: "EvalReport | MultiLabelReport", answer: AnswerOptions, format_: options.ReportFormat) -> str:
    """The report as JSON or as a table, in colour where it goes to a terminal."""
    if format_ is options.ReportFormat.JSON:
        return json_text(found.to_dict())
    from imgcls.cli.evaluate.multi_label_table import render_multi_label
    from imgcls.cli.evaluate.table import render_report
    from imgcls.evaluation.multi_label.report import MultiLabelReport

    colour = answer.output is None and console.stdout_has_colour()
    if isinstance(found, MultiLabelReport):
        return render_multi_label(found, colour=colour, sort=answer.sort.value)
    return render_report(found, colour=colour, sort=answer.sort.value)
