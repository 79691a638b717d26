"""The files for systemd, containers and Kubernetes, as far as a machine without them can tell."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from imgcls.cli.app import app, load_command

FOLDER = Path(__file__).parents[2] / "docs" / "pages" / "serving"


def parse_serve(words):
    """Parse arguments of `imgcls serve` as the command line does."""
    load_command("serve").make_context("serve", list(words), parent=typer.Context(typer.main.get_command(app)))


def test_the_unit_starts_a_command_that_exists(tmp_path):
    text = (FOLDER / "imgcls.service").read_text()
    words = shlex.split(re.search(r"^ExecStart=(.*)", text.replace("\\\n", " "), re.MULTILINE)[1])
    assert words[:2] == ["/opt/imgcls/bin/imgcls", "serve"]
    parse_serve(words[2:])
    assert "SuccessExitStatus=143" in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("parsed; no systemd-analyze here to check the rest")
    unit = tmp_path / "imgcls.service"
    unit.write_text(text.replace("/opt/imgcls/bin/imgcls", "/bin/true"))
    run = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "imgcls.service" not in run.stderr, run.stderr


def test_the_container_starts_a_command_that_exists_and_is_not_root():
    import json

    text = (FOLDER / "Dockerfile").read_text()
    entry, more = (
        json.loads(re.search(rf"^{name} (\[.*\])$", text, re.MULTILINE)[1]) for name in ("ENTRYPOINT", "CMD")
    )
    assert entry[:2] == ["imgcls", "serve"]
    parse_serve([*entry[2:], *more])
    assert re.search(r"^USER \d+$", text, re.MULTILINE)


def test_kubernetes_probes_and_scales_by_what_the_server_offers(served):
    yaml = pytest.importorskip("yaml")
    deployment, service, scaler = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    parse_serve(container["args"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert served.get(container[probe]["httpGet"]["path"]).status == 200
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    metric = scaler["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert f"\n{metric} " in served.get("/metrics").body.decode()
    grace = deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= 20 + container["lifecycle"]["preStop"]["sleep"]["seconds"]
