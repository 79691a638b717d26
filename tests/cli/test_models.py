"""`imgcls models`: the list, what is here, and fetching ahead of time."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from imgcls.cli.app import app
from imgcls.errors import ExitCode
from imgcls.models.families.bundled import BUNDLED
from imgcls.models.families.family import PretrainedEntry
from imgcls.models.families.torchvision import ALEXNET
from imgcls.models.families.torchvision_weights import torchvision_entries
from imgcls.models.registry import list_models
from imgcls.models.weights.weights_cache import weights_path

if TYPE_CHECKING:
    from conftest import LocalServer

CONTENT = b"weights" * 100
NAME = f"tiny-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def remember(*entries: PretrainedEntry) -> None:
    """Write a catalogue of these as if torchvision had only them."""
    import dataclasses

    from imgcls.host import cache_folders
    from imgcls.host.files import write_text
    from imgcls.host.versions import versions

    values = [{**dataclasses.asdict(entry), "transform": entry.transform.to_dict()} for entry in entries]
    version = {key: value for key, value in versions(("torchvision",)).items() if key != "python"}
    write_text(cache_folders.cache_folder() / "catalogue.json", json.dumps({"versions": version, "entries": values}))


@pytest.fixture
def tiny(server: "LocalServer") -> PretrainedEntry:
    """A model whose weights are on this machine's own server."""
    import dataclasses

    entry = dataclasses.replace(ALEXNET, name="tiny", url=server.add(f"/{NAME}", CONTENT), size_mib=0.1)
    remember(entry)
    return entry


@pytest.fixture(scope="module")
def catalogue() -> list[dict[str, Any]]:
    result = run("-f", "json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["schema"] == 1
    models: list[dict[str, Any]] = answer["models"]
    return models


def test_the_list_has_every_name_that_model_accepts(catalogue: list[dict[str, Any]]) -> None:
    import torchvision

    names = [each["name"] for each in catalogue]
    assert names == [*BUNDLED, "efficientnet-lite0", *sorted(torchvision.models.list_models(module=torchvision.models))]


def test_figures_are_those_that_torchvision_publishes(catalogue: list[dict[str, Any]]) -> None:
    import torchvision

    for each in catalogue:
        if each["source"] != "torchvision":
            continue
        weights = torchvision.models.get_model_weights(each["name"]).DEFAULT
        published = weights.meta["_metrics"]["ImageNet-1K"]
        assert each["num_params"] == weights.meta["num_params"]
        assert each["url"] == weights.url
        assert (100 * each["top1"], 100 * each["top5"]) == pytest.approx((published["acc@1"], published["acc@5"]))
        assert each["weights"] == "absent"


def test_the_catalogue_is_remembered_and_read_again_when_torchvision_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = torchvision_entries()

    def forbidden() -> list[str]:
        raise AssertionError("torchvision was asked again")

    monkeypatch.setattr("imgcls.models.families.torchvision_weights.pretrained_names", forbidden)
    assert torchvision_entries() == first
    monkeypatch.setattr(
        "imgcls.models.families.torchvision_weights.versions", lambda _packages: {"torchvision": "99.0"}
    )
    with pytest.raises(AssertionError, match="asked again"):
        torchvision_entries()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"versions": {}}', '{"versions": 3, "entries": [{}]}'])
def test_a_damaged_memory_is_read_anew(private_home: Path, content: str) -> None:
    folder = private_home / "imgcls"
    folder.mkdir()
    (folder / "catalogue.json").write_text(content, encoding="utf-8")
    assert len(torchvision_entries()) >= 80


def test_a_known_catalogue_is_listed_without_importing_torch(tiny: PretrainedEntry) -> None:
    script = (
        "import sys\nfrom imgcls.cli.app import app\napp(['models', 'tiny'], standalone_mode=False)\n"
        "print([name for name in ('torch', 'torchvision', 'rich') if name in sys.modules])\n"
    )
    root = str(Path(__file__).parents[2])
    # The first listing of all reads the bundled checkpoint, and remembers what it says.
    for _listing in range(2):
        found = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        )
    assert found.stdout.splitlines()[-1] == "[]"
    assert found.stdout.splitlines()[1].split()[0] == tiny.name


def test_fetch_downloads_verifies_and_says_so(tiny: PretrainedEntry, server: "LocalServer") -> None:
    assert run("tiny", "-f", "json").stdout.count('"absent"') == 1
    result = run("--fetch", "tiny", "-f", "json")
    assert result.exit_code == 0, result.stderr
    (model,) = json.loads(result.stdout)["models"]
    assert model["weights"] == "here"
    assert Path(model["path"]).read_bytes() == CONTENT
    assert "downloading the weights of tiny" in result.stderr
    assert run("--fetch", "tiny", "-q").stderr == ""
    assert server.requests == [f"/{NAME}"]


def test_damaged_weights_are_shown_as_such(tiny: PretrainedEntry) -> None:
    path = weights_path(tiny)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"cut short")
    result = run("tiny")
    assert result.stdout.split()[-1] == "DAMAGED"
    assert run("--fetch", "tiny").exit_code == 6


def test_the_table_is_for_people(tiny: PretrainedEntry) -> None:
    result = run()
    assert result.exit_code == 0
    rows = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert rows["tiny"].split()[1:5] == ["61,100,840", "0.1", "56.52%", "79.07%"]
    assert "--fetch NAME" in result.stderr
    assert run("-q").stderr == ""


def test_unknown_names_are_refused_with_the_nearest(tiny: PretrainedEntry) -> None:
    for arguments in (("tinny",), ("--fetch", "tinny"), ("--fetch", "tiny", "tinny")):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (6, "")
        assert "did you mean 'tiny'?" in result.stderr


def test_no_network_is_said(tiny: PretrainedEntry, monkeypatch: pytest.MonkeyPatch, server: "LocalServer") -> None:
    monkeypatch.setenv("IMGCLS_OFFLINE", "1")
    result = run("--fetch", "tiny")
    assert (result.exit_code, result.stdout) == (6, "")
    assert server.requests == []
    # What would mend this command, and nothing of other ones.
    assert "unset IMGCLS_OFFLINE, or put that file at" in result.stderr
    assert "copy it from a machine with a network" in result.stderr
    assert "-m " not in result.stderr


def test_a_bundled_model_shows_what_its_checkpoint_says(
    tiny: PretrainedEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from exported_models import save_model

    from imgcls.models.families import bundled

    folder = tmp_path / "bundled"
    folder.mkdir()
    save_model(folder / f"{BUNDLED[0]}.pt", "mlp", {"image_px": 8, "hidden": [4]}, 8)
    monkeypatch.setattr(bundled.resources, "files", lambda _package: tmp_path)
    for _remembered in (False, True):
        first = next(iter(list_models()))
        assert (first.name, first.source, first.weights, first.data) == (BUNDLED[0], "bundled", "here", "cifar10")
        assert first.num_params == (3 * 8 * 8 + 1) * 4 + (4 + 1) * 3
        assert first.top1 == 0.5


def test_verify_hashes_anew_and_ends_with_6_where_weights_are_damaged(tiny):
    path = weights_path(tiny)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    fine = run("tiny", "--verify")
    assert (fine.exit_code, "here" in fine.stdout) == (0, True)
    path.write_bytes(CONTENT[:-1] + b"X")
    damaged = run("tiny", "--verify", "-f", "json")
    assert damaged.exit_code == ExitCode.MODEL
    assert json.loads(damaged.stdout)["models"][0]["weights"] == "damaged"
    assert "damaged weights: tiny" in damaged.stderr
    assert str(path) in damaged.stderr
    assert run("tiny").exit_code == 0


def test_a_pattern_lists_what_fits(catalogue: list[dict[str, Any]]) -> None:
    result = run("resnet*", "cifar*", "-f", "json")
    names = [each["name"] for each in json.loads(result.stdout)["models"]]
    assert names == [*(each["name"] for each in catalogue if each["name"].startswith("resnet")), "cifar10-cnn"]
    assert run("nothing*").exit_code == 6
