"""The pages that a user reads, and the examples on them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *(ROOT / "docs" / "pages").rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    ]
)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What ends one command in a shell's line.
SEPARATORS = ("&&", "||", "|", ";", ";;", "&")


class Example(NamedTuple):
    """One command line of `imgcls` on a page."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: imgcls {shlex.join(self.words)}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    return [text for kind, text in BLOCK.findall(page.read_text("utf-8")) if kind == language]


def shell_examples(page: Path) -> Iterator[Example]:
    """Every call of `imgcls` in the page's shell blocks, as its arguments."""
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield from (Example(name_of(page), words) for words in imgcls_calls(line))


def imgcls_calls(line: str) -> Iterator[tuple[str, ...]]:
    """The arguments of each call in one line of a shell script."""
    lexer = shlex.shlex(re.sub(r"[0-9]*>>?\s*\S+", "", line), posix=True, punctuation_chars=";|&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in SEPARATORS:
            words.append(word)
            continue
        for start in ("imgcls", ".venv/bin/imgcls"):
            if start in words[:20]:
                yield tuple(words[words.index(start) + 1 :])
                break
        words = []
