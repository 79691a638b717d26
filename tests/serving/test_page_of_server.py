"""The page for people and the page of the API, in a real browser."""

import base64
import json
import time

import pytest
from chromium import PROGRAM, started_chromium
from serve_process import noise, serving

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here")

WATCH = "addEventListener('securitypolicyviolation', e => (window.broken ??= []).push(e.violatedDirective))"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A browser."""
    with started_chromium(tmp_path_factory.mktemp("chromium")) as page:
        page.send("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        yield page


def add(page, images):
    """Give the page files, as choosing them does, and wait for the answers."""
    told = json.dumps({name: base64.b64encode(content).decode() for name, content in images.items()})
    page.run(
        f"""{{
        const transfer = new DataTransfer();
        for (const [name, text] of Object.entries({told})) {{
          const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          transfer.items.add(new File([bytes], name, {{ type: "image/png" }}));
        }}
        const input = document.getElementById("files");
        input.files = transfer.files;
        input.dispatchEvent(new Event("change"));
        }}"""
    )
    end = time.monotonic() + 60
    while "to do" in page.run("document.getElementById('summary').textContent"):
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
@pytest.mark.parametrize("dark", [False, True])
def test_images_are_classified_and_the_page_fits(served, page, tmp_path, width, height, dark):
    page.open(served.url + "/", width_px=width, height_px=height, dark=dark)
    assert page.run("document.getElementById('model-line').textContent").startswith("mlp@")
    images = {f"{seed}.png": noise(tmp_path, seed) for seed in range(3)} | {"a" * 80 + ".png": b"no image"}
    add(page, images)
    assert page.run("document.getElementById('summary').textContent") == "3 classified, 1 failed"
    cards = page.run("[...document.querySelectorAll('.card')].map(each => each.innerText)")
    expected = served.post("/v1/predict", images["2.png"]).json["predictions"]
    card = next(each for each in cards if each.startswith("2.png"))
    assert expected[0]["label"] in card
    assert f"{100 * expected[0]['probability']:.1f} %" in card
    widths = page.run("[...document.querySelectorAll('.fill')].map(each => parseFloat(each.style.width))")
    assert len(widths) == 9
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    assert page.run("window.broken ?? []") == []
    own = page.run("performance.getEntriesByType('resource').map(each => new URL(each.name)).filter("
                   "each => each.protocol != 'blob:').map(each => each.origin)")  # fmt: skip
    assert set(own) == {served.url}
    page.screenshot(tmp_path / "page.png")
    page.run("document.getElementById('clear').click()")
    assert page.run("document.querySelectorAll('.card').length") == 0


def test_it_is_usable_by_keyboard_and_named_for_screen_readers(served, page):
    page.open(served.url + "/")
    reached = []
    for _ in range(8):
        page.press("Tab", 9)
        reached.append(page.run("document.activeElement.id || document.activeElement.textContent"))
    assert [name for name in ("files", "camera", "top-k") if name not in reached] == []
    unnamed = page.run(
        "[...document.querySelectorAll('main input:not([hidden]), button, select')].filter(each => "
        "!(each.textContent.trim() || each.ariaLabel || each.labels?.length)).map(each => each.id)"
    )
    assert unnamed == []
    assert page.run("document.documentElement.lang") == "en"
    assert page.run("document.getElementById('summary').getAttribute('role')") == "status"


def test_pasted_and_dropped_images_count(served, page, tmp_path):
    page.open(served.url + "/")
    text = base64.b64encode(noise(tmp_path, 1)).decode()
    for event in ("new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true})",
                  "new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true})"):  # fmt: skip
        page.run(
            f"{{ const transfer = new DataTransfer(); transfer.items.add(new File([Uint8Array.from(atob('{text}'), "
            f"(c) => c.charCodeAt(0))], 'a.png', {{type: 'image/png'}})); document.dispatchEvent({event}); }}"
        )
    add(page, {})
    assert page.run("document.querySelectorAll('.card').length") == 2


def test_the_page_asks_for_a_token_where_one_is_needed(page, tiny_model, tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-enough-letters\n")
    with serving("-m", str(tiny_model), "--runtime", "torch", "--token-file", str(tokens)) as server:
        page.open(server.url + "/")
        assert page.run("document.getElementById('token-form').hidden") is False
        page.run("document.getElementById('token').value = 'a-token-of-enough-letters';"
                 "document.getElementById('token-form').requestSubmit()")  # fmt: skip
        end = time.monotonic() + 30
        while not page.run("document.getElementById('token-form').hidden"):
            assert time.monotonic() < end
            time.sleep(0.05)
        add(page, {"a.png": noise(tmp_path, 1)})
        assert page.run("document.getElementById('summary').textContent") == "1 classified"


@pytest.mark.parametrize("width", [1400, 390])
def test_the_api_is_described_without_another_host(served, page, width):
    page.open(served.url + "/docs", width_px=width)
    text = page.run("document.body.innerText")
    for path in ("/v1/predict", "/v1/models", "/readyz", "/v2/models/{name}/infer"):
        assert path in text
    assert page.run("document.documentElement.scrollWidth <= innerWidth")
    assert page.run("window.broken ?? []") == []
