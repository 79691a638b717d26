"""What others need to adopt the project: licence, metadata, a README of one screen, a way to report vulnerabilities."""

import re
import tomllib

from pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_licence_is_whole_and_named():
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert text.split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert [f"   {number}. " in text for number in range(1, 10)] == [True] * 9
    assert text.rstrip().endswith("limitations under the License.")
    assert (PROJECT["license"], PROJECT["license-files"]) == ("Apache-2.0", ["LICENSE"])
    # With an SPDX expression, a licence classifier is an error.
    assert not [classifier for classifier in PROJECT["classifiers"] if classifier.startswith("License ::")]


def test_the_metadata_agree_with_themselves():
    lowest = PROJECT["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {lowest}" in PROJECT["classifiers"]
    assert PROJECT["readme"] == "README.md"
    assert PROJECT["keywords"]


def test_the_readme_is_one_screen_with_the_two_commands():
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 70
    # .ci/run takes them from here.
    assert len([line for line in lines if line.startswith("python3 -m venv ")]) == 2


def test_vulnerabilities_are_reported_in_private():
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    assert "private security advisories" in text
    assert not re.search(r"[\w.]+@[\w.]+", text), "an address that nobody reads"
