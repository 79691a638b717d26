"""One word for one thing, and plain technical English, in code and in what users read."""

import re
from pathlib import Path

import pytest
from pages import ROOT

# What not to say, and what to say.
SAY = {
    r"\bpictures?\b": "image",
    r"\blanes?\b": "batch executor",
    r"\bsinks?\b": "output writer",
    r"\boddit(?:y|ies)\b": "data-set checks",
    r"\bstaging\b": "fine-tuning",
    r"\bmirror(?:ed|ing)?\b(?! (?:url|server|site)s?)": "horizontal flip",
    r"\bbody\b|\bbodies\b": "backbone",
    r"\brunners?\b": "backend",
    r"\brun notes?\b": "manifest",
    r"\boutput logs?\b": "journal",
    r"\bis_log\b|\bis_steady\b": "resumable, deterministic",
    r"\brandom streams?\b": "RNG state",
    r"\bmoving averages?\b": "EMA",
    r"\btalk(?:s|ing)? on\b|\btalk on stderr\b": "message",
    r"\bwhat is odd\b": "data-set checks",
    r"\ba GPU each\b(?! time)|\ba bar a\b|\ba line an epoch\b|\bone record an input\b|\bonce an image\b": "per",
    r"\bnames? rightly\b|\bnamed rightly\b|\b(?:images|of them) rightly\b": "classifies correctly",
    r"\bscoring\b": "validation",
}
SUFFIXES = (".py", ".md", ".toml", ".jinja", ".css", ".js", ".cff", ".yml", ".sh")
FOLDERS = ("imgcls", "tests", "docs", "benchmarks", "configs", "examples", ".ci")
# The same words in another sense, anywhere.
OTHER_SENSES = re.compile(
    r"(?:request|response|redirect) bod(?:y|ies)|body of (?:a|an|the|every|each) (?:request|response|answer|redirect)"
    r"|</?body|^\s*body\b.*\{|\.body\b|document\.body|body_lr_factor|exponential moving average|asyncio\.Runner",
    re.IGNORECASE,
)
# The same words in another sense, in these files: what HTTP sends, Python's syntax trees, another server's copy.
ALLOWED = {
    "body": (
        "imgcls/host/",
        "imgcls/serving/",
        "imgcls/cli/serve/",
        "benchmarks/serving",
        "tests/s3_server.py",
        "tests/images/test_object_storage.py",
        "docs/pages/guides/serving.md",
        "tests/host/",
        "tests/serving/",
        "tests/conftest.py",
        "tests/models/weights/test_weights_cache.py",
        "tests/environment/test_accelerators.py",
        # A loop's inside, in ONNX.
        "tests/onnx_files.py",
        "tests/models/families/test_timm.py",
        "docs/generator/python_api.py",
    ),
    "bodies": ("imgcls/serving/", "tests/serving/"),
    # In augmentation it names a stream of random numbers, which another name would change.
    "mirror": (
        "imgcls/models/weights/weights_cache.py",
        "imgcls/models/families/timm.py",
        "imgcls/models/families/hub.py",
        "tests/models/weights/test_weights_cache.py",
        "imgcls/host/",
        "imgcls/training/augmentation/inputs.py",
        # A value that is refused.
        "tests/test_public_api.py",
    ),
}


def texts() -> list[Path]:
    """Everything that is written by hand, apart from this list of words."""
    files = [path for path in ROOT.iterdir() if path.suffix in SUFFIXES]
    for folder in FOLDERS:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES or path.name == "run"]
    return sorted(path for path in files if path.is_file() and path != Path(__file__))


def unwanted(text: str, name: str = "") -> list[str]:
    """Lines that say it otherwise, with the word to use.

    Args:
        text: of a file.
        name: its path in the repository.
    """
    allowed = [word for word, places in ALLOWED.items() if name.startswith(places)]
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        rest = OTHER_SENSES.sub("", line)
        for pattern, word in SAY.items():
            match = re.search(pattern, rest, re.IGNORECASE)
            if match and match[0].lower() not in allowed:
                found.append(f"{number}: {match[0]!r}, say {word}")
    return found


@pytest.mark.parametrize("path", texts(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_words(path):
    assert unwanted(path.read_text("utf-8"), path.relative_to(ROOT).as_posix()) == []


# Names of modules that say the field's word otherwise: `early_stopping` is meant, `stopping` alone is not.
MODULES = {
    "agreement",
    "average",
    "catalog",
    "common",
    "helpers",
    "lanes",
    "listing",
    "manager",
    "oddities",
    "pictures",
    "runner",
    "runners",
    "saving",
    "scoring",
    "shares",
    "sinks",
    "spread",
    "stages",
    "staging",
    "starting",
    "stopping",
    "utils",
}


def test_modules_are_named_by_the_same_words():
    names = [path.relative_to(ROOT).as_posix() for path in (ROOT / "imgcls").rglob("*.py") if path.stem in MODULES]
    assert names == []


def test_unwanted_words_are_found():
    assert unwanted("one image\na picture of it") == ["2: 'picture', say image"]
    assert unwanted("the request body\n<body>") == []
    assert unwanted("BODY = b''", "tests/host/test_download.py") == []
    assert len(unwanted("lanes and a sink")) == 2
