"""The report in a real browser: what it shows, filters and sorts, how much of it is in the document, how it fits."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import PROGRAM, Page, started_chromium
from colour_backend import colour_origin, draw_image

from imgcls.errors import ImageError
from imgcls.images.thumbnails import THUMBNAIL_PX, make_thumbnail
from imgcls.outputs.record import ImageRecord, Prediction, failed_record
from imgcls.outputs.report.page import HtmlReport
from imgcls.outputs.summary import Summary

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium on PATH: apt-get install chromium")

NAMES = [
    "shots/zebra.jpg",
    "shots/ant.jpg",
    "<script>top.broken=1<script>.jpg",
    'a "quoted"\n\u202ename.jpg',
    "torn.jpg",
]
CLASSES = ("red", "green", "<b>blue</b>")
# What the steps of a test may call; a step waits for the page to draw.
TOOLS = """
  const $ = (query) => document.querySelector(query), all = (query) => [...document.querySelectorAll(query)];
  const names = () => all(".file").map((node) => node.textContent);
  const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const press = async (query) => { $(query).focus(); $(query).click(); await drawn(); };
  const type = async (query, value, event) => {
    $(query).value = value;
    $(query).dispatchEvent(new Event(event, {bubbles: true}));
    await drawn();
  };
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A browser's page."""
    with started_chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


def answers(best: int, probability: float) -> tuple[Prediction, ...]:
    """Three predictions, falling."""
    rest = (1 - probability) / 2
    order = [best, *(index for index in range(3) if index != best)]
    return tuple(Prediction(i, CLASSES[i], p) for i, p in zip(order, (probability, rest, rest), strict=True))


def write_report(path: Path, records: list[ImageRecord]) -> None:
    """The page of a run with these records."""
    summary = Summary()
    with HtmlReport(path, colour_origin(CLASSES, threshold=0.6)) as report:
        for record in records:
            summary.add(record)
            report.add(record)
        report.finish(summary)


def small_report(path: Path) -> None:
    """Four images and one that failed, with names that a page could trip over."""
    thumbnail = make_thumbnail(draw_image(200, 30, 30, size=(300, 200)), THUMBNAIL_PX)
    write_report(
        path,
        [
            ImageRecord(NAMES[0], "m@1", answers(0, 0.7), 300, 200, uncertain=False, thumbnail=thumbnail),
            ImageRecord(NAMES[1], "m@1", answers(1, 0.9), 300, 200, uncertain=False, thumbnail=thumbnail),
            ImageRecord(NAMES[2], "m@1", answers(0, 0.5), 300, 200, uncertain=True, thumbnail=thumbnail),
            ImageRecord(NAMES[3], "m@1", answers(2, 0.8), 300, 200, uncertain=False, thumbnail=thumbnail),
            failed_record(NAMES[4], "m@1", ImageError("corrupt_image", "image file is truncated")),
        ],
    )


def seen_after(page: Page, steps: str) -> dict[str, Any]:
    """What `seen` holds after some steps in JavaScript; see TOOLS for what they may call."""
    seen: dict[str, Any] = page.run(f"(async () => {{ {TOOLS} const seen = {{}}; {steps} return seen; }})()")
    return seen


def test_shows_filters_sorts_and_searches(page: Page, tmp_path: Path) -> None:
    small_report(tmp_path / "report.html")
    page.open((tmp_path / "report.html").as_uri())
    seen = seen_after(
        page,
        """
        await drawn();
        seen.heading = $("h1").textContent.trim();
        seen.tiles = all(".tile").map((tile) => [...tile.children].map((node) => node.textContent));
        seen.start = names();
        seen.classes = all(".class").map((node) => [...node.children].slice(0, 2).map((cell) => cell.textContent));
        const share = (bar) => bar.style.getPropertyValue("--share");
        seen.bars = all(".card:first-child .bar").map((bar) => [bar.textContent, share(bar)]);
        seen.links = all("a.thumb").map((link) => link.getAttribute("href"));
        seen.images = all(".thumb img").map((image) => [image.naturalWidth, image.naturalHeight]);
        seen.unnamed = all("button, input, select, a").filter((node) =>
          !(node.textContent.trim() || node.getAttribute("aria-label") || node.labels?.length)).length;
        await press(".tile.failed"); seen.failed = [names(), location.hash, $(".reason").textContent];
        await press(".tile.uncertain"); seen.uncertain = [names(), $(".tile.uncertain").getAttribute("aria-pressed")];
        await press("#clear"); seen.cleared = [names().length, location.hash];
        await type("#sort", "-confidence", "change"); seen.falling = names();
        await type("#sort", "confidence", "change"); seen.rising = names();
        await type("#search", "SHOTS/", "input"); seen.search = [names(), $("#found").textContent];
        await type("#search", "no such name", "input"); seen.nothing = [names(), $("#nothing").hidden];
        await type("#search", "", "input"); await type("#sort", "input", "change");
        await press(".class"); seen.class = [names(), document.activeElement.textContent, location.hash];
        await press(".class"); seen.allClasses = names().length;
        location.hash = "#filter=ok&class=" + encodeURIComponent("<b>blue</b>"); await drawn();
        seen.address = names();
        seen.broken = [typeof window.broken, all("b b").length];
        """,
    )
    shown = ["zebra.jpg", "ant.jpg", NAMES[2], 'a "quoted"\\n\\u{202e}name.jpg', "torn.jpg"]
    assert seen["heading"] == "5 images"
    assert seen["tiles"] == [
        ["5", "images", "3 classes"],
        ["4", "classified", "mean confidence 72.5%"],
        ["1", "uncertain", "less than 60% sure"],
        ["1", "failed", "1\u00a0corrupt_image"],
    ]
    assert seen["start"] == shown
    assert seen["classes"] == [["red", "2"], ["green", "1"], ["<b>blue</b>", "1"]]
    assert seen["bars"] == [["red70.0%", "70.0%"], ["green15.0%", "15.0%"], ["<b>blue</b>15.0%", "15.0%"]]
    assert seen["links"][0].endswith("/shots/zebra.jpg")
    assert seen["links"][2].endswith("/%3Cscript%3Etop.broken%3D1%3Cscript%3E.jpg")
    assert seen["images"] == [[160, 107]] * 4
    assert seen["unnamed"] == 0
    assert seen["failed"] == [["torn.jpg"], "#filter=failed", "image file is truncated"]
    assert seen["uncertain"] == [[NAMES[2]], "true"]
    assert seen["cleared"] == [5, ""]
    assert seen["falling"] == [shown[i] for i in (1, 3, 0, 2, 4)]
    assert seen["rising"] == [shown[i] for i in (2, 0, 3, 1, 4)]
    assert seen["search"] == [["zebra.jpg", "ant.jpg"], "2 of 5"]
    assert seen["nothing"] == [[], False]
    assert seen["class"] == [[shown[0], shown[2]], "red2", "#class=red"]
    assert seen["allClasses"] == 5
    assert seen["address"] == [shown[3]]
    assert seen["broken"] == ["undefined", 0]


def test_starts_in_the_state_of_its_address_and_fits_a_narrow_screen(page: Page, tmp_path: Path) -> None:
    small_report(tmp_path / "report.html")
    page.open((tmp_path / "report.html").as_uri() + "#sort=-confidence&search=shots", width_px=360, height_px=800)
    seen = seen_after(
        page,
        """
        seen.names = names();
        seen.sort = $("#sort").value;
        const spare = () => document.documentElement.clientWidth - document.documentElement.scrollWidth;
        seen.layout = [innerWidth, spare()];
        $("#classes").open = true; $(".facts").open = true; await drawn();
        seen.opened = spare();
        """,
    )
    assert seen == {"names": ["ant.jpg", "zebra.jpg"], "sort": "-confidence", "layout": [360, 0], "opened": 0}


def test_the_addresses_in_the_guide_lead_somewhere(page: Page, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "pages" / "guides" / "batch-and-cron.md").read_text("utf-8")
    addresses = re.findall(r"`(?:report\.html)?(#[a-z]+=[^`]*)`", guide)
    assert len(addresses) == 3
    small_report(tmp_path / "report.html")
    found = []
    for address in addresses:
        page.open((tmp_path / "report.html").as_uri() + address.replace("espresso", "red"))
        found.append(seen_after(page, "await drawn(); seen.names = names();")["names"])
    assert found == [["torn.jpg"], [NAMES[2]], ["zebra.jpg"]]


def test_only_what_is_on_screen_is_in_the_document(page: Page, tmp_path: Path) -> None:
    thumbnail = make_thumbnail(draw_image(10, 200, 30), THUMBNAIL_PX)
    write_report(
        tmp_path / "report.html",
        [
            ImageRecord(f"{number:05}.jpg", "m@1", answers(number % 3, 0.9), 8, 8, thumbnail=thumbnail)
            for number in range(10_000)
        ],
    )
    page.open((tmp_path / "report.html").as_uri())
    seen = seen_after(
        page,
        """
        seen.top = [names()[0], names().length];
        scrollTo(0, document.documentElement.scrollHeight);
        await drawn();
        seen.bottom = [names().at(-1), names().length, all(".thumb img").length];
        await press(".class");
        seen.filtered = [names()[0], names().length, $("#found").textContent];
        """,
    )
    assert seen["top"][0] == "00000.jpg"
    assert seen["bottom"][0] == "09999.jpg"
    assert seen["filtered"][0] == "00000.jpg"
    assert seen["filtered"][2] == "3,334 of 10,000"
    assert max(seen["top"][1], seen["bottom"][1], seen["filtered"][1]) < 100
    assert seen["bottom"][2] == seen["bottom"][1]


def test_works_with_the_keyboard(page: Page, tmp_path: Path) -> None:
    small_report(tmp_path / "report.html")
    page.open((tmp_path / "report.html").as_uri())
    reached = []
    for _ in range(15):
        page.press("Tab", 9)
        reached.append(page.run("document.activeElement.id || document.activeElement.className"))
    assert reached[:5] == ["skip", "tile all", "tile ok", "tile uncertain", "tile failed"]
    assert reached[-6:] == ["class", "search", "sort", "view", "copy", "thumb"]
    page.run("document.querySelector('.tile.failed').focus()")
    page.press("Enter", 13)
    assert page.run("location.hash") == "#filter=failed"
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_searches_classes_sorts_by_name_and_class_and_shows_a_gallery(page: Page, tmp_path: Path) -> None:
    small_report(tmp_path / "report.html")
    page.open((tmp_path / "report.html").as_uri())
    seen = seen_after(
        page,
        """
        await drawn();
        seen.details = $(".facts").open;
        await type("#search", "BLUE", "input"); seen.byClass = names().length;
        await type("#search", "", "input");
        await type("#sort", "name", "change"); seen.byName = [names(), location.hash];
        await type("#sort", "class", "change"); const best = (card) => card.querySelector(".bar span")?.textContent;
        seen.sortedByClass = all(".card").map(best);
        await type("#sort", "input", "change");
        seen.listed = $(".card").getBoundingClientRect().width;
        await press("#view"); seen.gallery = [names().length, all(".bars").length, location.hash];
        seen.button = $("#view").textContent;
        seen.best = all(".best").map((node) => node.textContent);
        seen.narrow = $(".card").getBoundingClientRect().width < seen.listed;
        location.hash = "#view=list"; await drawn(); seen.list = all(".bars").length;
        let copied = "";
        document.execCommand = () => { copied = $("textarea").value; return true; };
        Object.defineProperty(navigator, "clipboard", {value: undefined, configurable: true});
        await type("#search", "shots/", "input"); await press("#copy"); await drawn();
        seen.copied = [copied, $("#copy").textContent, all("textarea").length];
        await type("#search", "", "input");
        dispatchEvent(new Event("beforeprint")); seen.printed = all(".card").length;
        dispatchEvent(new Event("afterprint")); await drawn(); seen.after = all(".card").length;
        """,
    )
    assert seen["details"] is False
    assert seen["byClass"] == 4
    assert seen["byName"][1] == "#sort=name"
    assert seen["byName"][0][-2:] == ["zebra.jpg", "torn.jpg"]
    assert seen["sortedByClass"] == ["<b>blue</b>", "green", "red", "red", None]
    assert seen["gallery"] == [5, 0, "#view=gallery"]
    assert seen["button"] == "List"
    assert seen["best"][0] == "red 70.0%"
    assert seen["narrow"]
    assert seen["list"] == 4
    assert seen["copied"] == ["shots/zebra.jpg\nshots/ant.jpg\n", "Copied 2 names", 0]
    assert (seen["printed"], seen["after"]) == (5, 5)
