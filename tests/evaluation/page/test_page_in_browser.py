"""The page of an evaluation in a real browser: what it shows, where a click leads, how it fits."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chromium import PROGRAM, Page, started_chromium
from PIL import Image

from imgcls.datasets.labelled_images import DataDescription
from imgcls.datasets.stored_images import ArrayImages
from imgcls.evaluation.figures.scores import ImageScores
from imgcls.evaluation.page.page import ExplainedImage, HeatMap, write_page
from imgcls.evaluation.page.previews import make_previews
from imgcls.evaluation.report import EvalReport
from imgcls.evaluation.result import EvalResult
from imgcls.images.transform import Transform

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium on PATH: apt-get install chromium")

CLASSES = ("red", "green", "<b>blue</b>")
# What the steps of a test may call; a step waits for the page to draw.
TOOLS = """
  const $ = (query) => document.querySelector(query), all = (query) => [...document.querySelectorAll(query)];
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const press = async (query) => { $(query).focus(); $(query).click(); await drawn(); };
  const type = async (query, value, event) => {
    $(query).value = value;
    $(query).dispatchEvent(new Event(event, {bubbles: true}));
    await drawn();
  };
  const files = () => all(".card .file").map((node) => node.textContent);
  // Cards exist near the screen only.
  const look = async () => { $("#gallery").scrollIntoView(); await drawn(); await drawn(); };
  const percentages = () => all(".card .bar:first-child span:last-child").map((node) => node.textContent);
"""


class PlainImages:
    """Images of one colour each, in an array; see `LabelledImages`."""

    classes = CLASSES

    def __init__(self, labels: list[int]) -> None:
        self.labels_N = torch.tensor(labels)
        pixels_NCHW = np.zeros((len(labels), 3, 8, 8), np.uint8)
        pixels_NCHW[np.arange(len(labels)), labels] = 200
        self._store = ArrayImages(pixels_NCHW, Path("colours"), "0" * 64)

    def stored(self, index: int) -> tuple[ArrayImages, int]:
        return self._store, index


# Six images: true class and probabilities. Two mistakes: image 2 (green taken for red, sure) and 5 (blue for green).
ANSWERS = (
    (0, (0.9, 0.05, 0.05)),
    (0, (0.6, 0.3, 0.1)),
    (1, (0.8, 0.15, 0.05)),
    (1, (0.2, 0.7, 0.1)),
    (2, (0.05, 0.05, 0.9)),
    (2, (0.1, 0.5, 0.4)),
)


def write(path: Path, answers: Any = ANSWERS, *, explained: dict[int, ExplainedImage] | None = None) -> Path:
    """The page of an evaluation with these answers."""
    labels = [label for label, _ in answers]
    log_NK = np.log(np.array([row for _, row in answers])).astype(np.float32)
    probabilities_NK = np.exp(log_NK.astype(np.float64))
    order_NK = np.argsort(-probabilities_NK, 1, kind="stable")
    true_N = probabilities_NK[np.arange(len(labels)), labels]
    scores = ImageScores(
        np.arange(len(labels)),
        np.array(labels),
        order_NK[:, 0],
        -np.log(true_N),
        (probabilities_NK**2).sum(1) - 2 * true_N + 1,
        order_NK,
        np.take_along_axis(probabilities_NK, order_NK, 1),
        log_NK,
    )
    confusion_KK = torch.zeros(3, 3, dtype=torch.int64)
    for label, guess in zip(labels, order_NK[:, 0].tolist(), strict=True):
        confusion_KK[label, guess] += 1
    report = EvalReport(
        model={"id": "colours@0123456789ab", "name": "colours"},
        data=DataDescription("<i>shots</i>", "test", "f" * 64),
        result=EvalResult(CLASSES, confusion_KK, len(labels), float(scores.losses_N.mean()), scores),
        missing=(),
        skipped=(),
        device="cpu",
        warnings=("something <b>odd</b>",),
    )
    images = PlainImages(labels)
    transform = Transform(8, 8)
    previews = make_previews(images, scores, transform)  # type: ignore[arg-type]
    write_page(path, report, images, previews, folder=path.parent, explained=explained, method="Grad-CAM (x)")  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser's page."""
    with started_chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def seen_after(page: Page, steps: str) -> dict[str, Any]:
    """What `seen` holds after some steps in JavaScript; see TOOLS for what they may call."""
    seen: dict[str, Any] = page.run(f"(async () => {{ {TOOLS} const seen = {{}}; {steps} return seen; }})()")
    return seen


def test_shows_the_figures_and_leads_from_each_to_its_images(page: Page, tmp_path: Path) -> None:
    path = write(tmp_path / "page.html")
    page.open(path.as_uri())
    seen = seen_after(
        page,
        """
        await drawn();
        seen.title = document.title;
        seen.heading = $("h1").textContent;
        seen.tiles = all(".tile").map((tile) => [...tile.children].slice(0, 2).map((node) => node.textContent));
        seen.notice = $(".notice").textContent;
        seen.matrix = all(".matrix tr").slice(1).map((row) => [...row.children].map((cell) => cell.textContent));
        seen.largest = all(".confusion").map((button) => [...button.children].map((node) => node.textContent));
        await look(); seen.start = [files(), location.hash];
        await press('.matrix [data-cell="1,0"]'); seen.cell = [files(), location.hash];
        await press('.matrix [data-cell="0,0"]'); seen.hits = [files(), location.hash];
        await press(".confusion"); seen.confusion = files();
        await press('[data-filter="all"]'); await press("#clear"); seen.all = [files().length, $("#found").textContent];
        await type("#sort", "-loss", "change"); seen.losses = files();
        await type("#sort", "confidence", "change"); seen.doubtful = [files()[0], percentages()[0]];
        await type("#true-class", "2", "change"); seen.blue = files();
        await type("#guessed-class", "1", "change"); seen.blueGreen = files();
        location.hash = "#filter=hits&true=" + encodeURIComponent("<b>blue</b>"); await drawn(); seen.address = files();
        seen.unnamed = all("button, input, select, a").filter((node) =>
          !(node.textContent.trim() || node.getAttribute("aria-label") || node.labels?.length)).length;
        seen.broken = [all("b b").length, all("h1 i").length, all(".notice b").length];
        """,
    )
    # 4 of 6 are right.
    assert seen["title"] == "66.67%: colours@0123456789ab on <i>shots</i>"
    assert seen["heading"] == "colours@0123456789ab on <i>shots</i>"
    assert seen["tiles"][0] == ["66.67%", "Accuracy"]
    assert seen["notice"] == "something <b>odd</b>"
    assert seen["matrix"] == [["red", "2", "", ""], ["green", "1", "1", ""], ["<b>blue</b>", "", "1", "1"]]
    assert seen["largest"] == [
        ["green → red", "1", "50.0% of green"],
        ["<b>blue</b> → green", "1", "50.0% of <b>blue</b>"],
    ]
    assert seen["start"] == [["00002", "00005"], ""]
    assert seen["cell"] == [["00002"], "#true=green&guess=red"]
    assert seen["hits"] == [["00001", "00000"], "#filter=hits&true=red&guess=red"]
    assert seen["confusion"] == ["00002"]
    assert seen["all"] == [6, "6 images"]
    assert seen["losses"][:2] == ["00002", "00005"]
    assert seen["doubtful"] == ["00005", "50.0%"]
    assert (seen["blue"], seen["blueGreen"]) == (["00005", "00004"], ["00005"])
    assert seen["address"] == ["00004"]
    assert seen["unnamed"] == 0
    assert seen["broken"] == [0, 0, 0]


def test_the_threshold_says_coverage_and_accuracy(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path / "page.html").as_uri())
    seen = seen_after(
        page,
        """
        const at = async (value) => { await type("#threshold", value, "input"); return $("#risk-words").textContent; };
        seen.all = await at(0); seen.some = await at(650); seen.sure = await at(850); seen.none = await at(1000);
        await at(650); await press("#show-accepted"); seen.shown = [files(), location.hash, $("#clear").textContent];
        seen.points = all("#reliability .point").length;
        seen.words = $("#calibration-words").textContent;
        """,
    )
    assert seen["all"].startswith("Coverage 100.0%: 6 of 6 images answered. Accuracy 66.67%: 2 mistakes among them, 0")
    # 0.9, 0.8 (wrong), 0.7 and 0.9 are at least 0.65.
    assert seen["some"].startswith("Coverage 66.7%: 4 of 6 images answered. Accuracy 75.00%: 1 mistake among them, 1")
    assert seen["sure"].startswith("Coverage 33.3%: 2 of 6 images answered. Accuracy 100.00%: 0 mistakes")
    assert seen["none"] == "No image is answered."
    assert seen["shown"] == [["00002"], "#above=0.65", "✕ at least 65.0% sure"]
    # Two images share 0.9, so that six images make five bins.
    assert seen["points"] == 5
    assert "On average it is surer than right, by 6.7%" in seen["words"]


def test_the_table_of_classes_sorts_and_searches(page: Page, tmp_path: Path) -> None:
    page.open(write(tmp_path / "page.html").as_uri())
    seen = seen_after(
        page,
        """
        const column = (i) => all("#classes-table tbody tr").map((row) => row.children[i].textContent);
        seen.start = [column(0), column(4)];
        await press('[data-key="name"]'); seen.names = column(0);
        await press('[data-key="name"]'); seen.falling = [column(0), $("[aria-sort]").getAttribute("aria-sort")];
        await press('[data-key="4"]'); seen.precision = [column(0), column(6)];
        seen.focus = document.activeElement.dataset.key;
        await type("#class-search", "GR", "input"); seen.found = column(0);
        await press("#classes-table .name"); seen.images = [files(), location.hash];
        """,
    )
    assert seen["start"] == [["green", "<b>blue</b>", "red"], ["50.0%", "50.0%", "100.0%"]]
    assert seen["names"] == ["<b>blue</b>", "green", "red"]
    assert seen["falling"] == [["red", "green", "<b>blue</b>"], "descending"]
    assert seen["precision"] == [["green", "red", "<b>blue</b>"], ["50.0%", "66.7%", "100.0%"]]
    assert seen["focus"] == "4"
    assert seen["found"] == ["green"]
    assert seen["images"] == [["00002"], "#true=green"]


def test_heat_maps_appear_on_demand_where_they_belong(page: Page, tmp_path: Path) -> None:
    maps = (HeatMap(0, 2, 2, bytes([255, 0, 0, 0])), HeatMap(1, 1, 1, bytes([128])))
    explained = {2: ExplainedImage((0.25, 0.0, 0.5, 1.0), maps)}
    page.open(write(tmp_path / "page.html", explained=explained).as_uri())
    seen = seen_after(
        page,
        """
        await look();
        seen.buttons = all(".why").map((node) => node.textContent);
        await press(".why"); await new Promise((done) => setTimeout(done, 50));
        const image = $(".card img").getBoundingClientRect(), heat = $(".heat").getBoundingClientRect();
        seen.first = [$(".why").textContent, $(".heat").getAttribute("aria-label"), $(".heat").width];
        seen.place = [heat.left - image.left, heat.width, heat.height].map((size) => size / image.width);
        seen.pixels = [...$(".heat").getContext("2d").getImageData(0, 0, 2, 1).data];
        await press(".why"); seen.second = [$(".why").textContent, $(".heat").width];
        await press(".why"); seen.third = [$(".why").textContent, all(".heat").length];
        await press("#overlay"); seen.every = [all(".heat").length, $("#overlay").getAttribute("aria-pressed")];
        seen.legend = $("#legend-words").textContent;
        """,
    )
    assert seen["buttons"] == ["Why?"]
    assert seen["first"] == ["Why red?", "What speaks for red", 2]
    assert seen["place"] == pytest.approx([0.25, 0.5, 1], abs=0.02)
    # The brightest colour where the map is strongest, the darkest where it is not.
    assert min(seen["pixels"][:2]) > 200
    assert max(seen["pixels"][4:7]) < 20
    assert seen["second"] == ["Why green?", 1]
    assert seen["third"] == ["Why?", 0]
    assert seen["every"] == [1, "true"]
    assert "Grad-CAM (x); of 1 image" in seen["legend"]


def test_fits_a_narrow_screen_and_works_with_the_keyboard(page: Page, tmp_path: Path) -> None:
    path = write(tmp_path / "page.html")
    for dark in (False, True):
        page.open(path.as_uri(), width_px=390, height_px=844, dark=dark)
        assert page.run("document.documentElement.clientWidth - document.documentElement.scrollWidth") == 0
    page.open(path.as_uri(), width_px=1400, height_px=900)
    assert page.run("document.documentElement.clientWidth - document.documentElement.scrollWidth") == 0
    page.press("Tab", 9)
    assert page.run("document.activeElement.id") == "skip"
    # The matrix is one stop; the arrow keys lead to the next cell that holds images.
    assert page.run("document.querySelectorAll('.matrix [tabindex=\"0\"]').length") == 1
    page.run("document.querySelector('.matrix [tabindex=\"0\"]').focus()")
    page.press("ArrowDown", 40)
    assert page.run("document.activeElement.dataset.cell") == "1,0"
    page.press("ArrowRight", 39)
    assert page.run("document.activeElement.dataset.cell") == "1,1"
    page.press("Enter", 13)
    assert page.run("location.hash") == "#filter=hits&true=green&guess=green"
    assert page.run("document.activeElement.id") == "images"
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("[...document.querySelectorAll('details')].every((node) => node.open)")
    page.run("dispatchEvent(new Event('afterprint'))")
    # Each image once, as before: what was printed is gone.
    positions = page.run(
        "[...document.querySelectorAll('#images .card')].map((node) => node.getAttribute('aria-posinset'))"
    )
    assert positions
    assert len(set(positions)) == len(positions)
    assert None not in positions


def test_only_what_is_on_screen_is_in_the_document(page: Page, tmp_path: Path) -> None:
    answers = [(number % 3, np.roll((0.6 + number % 97 / 300, 0.1, 0.05), number % 5 % 3)) for number in range(5000)]
    answers = [(label, tuple(np.array(row) / sum(row))) for label, row in answers]
    path = write(tmp_path / "page.html", answers)
    page.open(path.as_uri() + "#filter=all&sort=input")
    seen = seen_after(
        page,
        """
        seen.top = [files()[0], files().length];
        scrollTo(0, document.documentElement.scrollHeight); await drawn(); await drawn();
        seen.bottom = [files().at(-1), files().length, all(".card img").length];
        """,
    )
    assert seen["bottom"][0] == "04999"
    assert max(seen["top"][1], seen["bottom"][1]) < 120
    assert seen["bottom"][1] == seen["bottom"][2]


def test_the_page_loads_nothing_and_holds_its_budget(tmp_path: Path) -> None:
    text = write(tmp_path / "page.html").read_text("utf-8")
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["']?(?!#|data:)[\w/.]|@import|url\(|https?://(?!www\.w3\.org)""", text)


def test_previews_stop_at_the_budget_the_surest_mistakes_first() -> None:
    labels = [0] * 40
    images = PlainImages(labels)
    confidences_N = np.linspace(0.5, 0.9, 40)
    guesses_N = np.array([0, 1] * 20)
    scores = ImageScores(
        np.arange(40), np.array(labels), guesses_N, np.ones(40), np.ones(40),
        np.stack([guesses_N, 1 - guesses_N], 1), np.stack([confidences_N, 1 - confidences_N], 1),
    )  # fmt: skip
    everything = make_previews(images, scores, Transform(8, 8))  # type: ignore[arg-type]
    assert everything.rows == [*range(39, 0, -2), *range(0, 40, 2)]
    assert everything.sizes[0] == (8, 8)
    with Image.open(io.BytesIO(everything.jpegs[0])) as preview:
        assert preview.size == (8, 8)
    size = -(-len(everything.jpegs[0]) // 3) * 4 + 1
    some = make_previews(images, scores, Transform(8, 8), budget_bytes=5 * size)  # type: ignore[arg-type]
    assert some.rows == everything.rows[:5]
