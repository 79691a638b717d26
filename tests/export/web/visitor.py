"""A visitor of a site: opens it in a browser, gives it images, reads what it shows and saves."""

import base64
import json
import time
from typing import Any

from chromium import Page

LIMIT_SEC = 90.0
# What the page saves, instead of a file in the downloads.
KEEP_SAVED = """
URL.createObjectURL = (before => function (blob) {
  if (!blob.type) window.saved = blob;
  return before.call(URL, blob);
})(URL.createObjectURL);
"""
WATCH = "addEventListener('securitypolicyviolation', e => (window.broken ??= []).push(e.violatedDirective));"


def visit(page: Page, address: str, *, width_px: int = 1200, height_px: int = 800, dark: bool = False) -> float:
    """Open a site and wait until its model is ready; gives the seconds that took."""
    page.send("Emulation.setDeviceMetricsOverride", width=width_px, height=height_px, deviceScaleFactor=1, mobile=False)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    page.send("Emulation.setEmulatedMedia", features=[scheme])
    page.send("Page.navigate", url="about:blank")
    begin = time.monotonic()
    page.send("Page.navigate", url=address)
    while (state := _peek(page, "document.documentElement?.dataset.ready")) != "true":
        assert state != "broken", page.run("document.body.innerText")
        assert time.monotonic() < begin + LIMIT_SEC, page.run("document.body.innerText")
        time.sleep(0.02)
    return time.monotonic() - begin


def _peek(page: Page, script: str) -> Any:
    try:
        return page.run(script)
    except AssertionError:
        # The page reloads itself once, and has no place for scripts meanwhile.
        return None


def give(page: Page, files: dict[str, bytes], kind: str = "choose") -> None:
    """Give the page files and wait for the answers.

    Args:
        page: with a site.
        files: by name.
        kind: `choose`, `paste` or `drop`.
    """
    told = json.dumps({name: base64.b64encode(content).decode() for name, content in files.items()})
    types = json.dumps({"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "gif": "image/gif"})
    act = {
        "choose": "const input = document.getElementById('files'); input.files = transfer.files;"
        "input.dispatchEvent(new Event('change'));",
        "paste": "document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true}));",
        "drop": "document.dispatchEvent(new DragEvent('drop', "
        "{dataTransfer: transfer, bubbles: true, cancelable: true}));",
    }[kind]
    page.run(
        f"""{{
        const transfer = new DataTransfer();
        for (const [name, text] of Object.entries({told})) {{
          const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
          transfer.items.add(new File([bytes], name, {{ type: {types}[name.split(".").pop()] ?? "" }}));
        }}
        {act}
        }}"""
    )
    wait(page)


def wait(page: Page) -> None:
    """Wait until nothing is to do."""
    end = time.monotonic() + LIMIT_SEC
    while "to do" in page.run("document.getElementById('summary').textContent"):
        assert time.monotonic() < end
        time.sleep(0.02)


def saved(page: Page) -> dict[str, Any]:
    """The records that the page saves, by input."""
    page.run("document.getElementById('save').click()")
    lines = page.run("window.saved.text()").splitlines()
    return {record["input"]: record for record in map(json.loads, lines)}
