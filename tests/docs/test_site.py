"""The documentation is built whole, its links lead somewhere, and nothing in it asks another host."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import PAGES, ROOT, name_of

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchor(heading: str) -> str:
    """The anchor of a heading, as the forge and MkDocs make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_resolve(page):
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in LINK.findall(text):
        if re.match(r"https?://", target):
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        generated = {"commands.md", "recipe-keys.md", "python.md", "changelog.md"}
        assert file.exists() or file.name in generated, f"{target} leads nowhere"
        if fragment and file.exists():
            headings = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            assert fragment in map(anchor, headings), f"{target}: no such heading"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("material", reason="mkdocs-material is not installed: pip install 'imgcls[docs]'")
    folder = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


def test_the_site_is_built_without_a_warning(site):
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {"index.html", "reference/commands.html", "reference/recipe-keys.html", "reference/python.html"} <= pages


def test_no_page_asks_another_host(site):
    for path in [*site.rglob("*.html"), *site.rglob("*.css"), *site.rglob("*.svg")]:
        text = path.read_text("utf-8")
        loaded = re.findall(r"""(?:src=|<link[^>]+href=|url\()["']?(https?://[^"')\s>]+)""", text)
        assert loaded == [], f"{path.relative_to(site)} loads {loaded}"


def test_every_page_is_in_the_navigation(site):
    index = (site / "index.html").read_text("utf-8")
    pages = [path.relative_to(site).as_posix() for path in site.rglob("*.html") if path.name != "404.html"]
    assert [page for page in pages if f'href="{page}"' not in index and page != "index.html"] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_that_pages_name_exist(page):
    """Files of the repository between backticks, such as `imgcls/errors.py` or `tests/docs/`."""
    text = page.read_text("utf-8")
    named = re.findall(r"`((?:imgcls|tests|docs|benchmarks|configs|examples)/[\w./-]*)`", text)
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_changelog_is_grouped():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    unreleased = text.partition("\n## Unreleased\n")[2].partition("\n## ")[0]
    # Nothing stands before the first group, and no group is empty.
    first, *groups = re.split(r"^### .*$", unreleased, flags=re.MULTILINE)
    assert first.strip() == ""
    assert len(groups) >= 3
    assert all(group.strip().startswith("- ") for group in groups)
