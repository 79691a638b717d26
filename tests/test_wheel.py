"""What `pip install` puts on a machine: the wheel, built from a copy of what is committed, and used from elsewhere."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def _clean_environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that holds the unpacked wheel, as an install that isn't editable has it."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        names = [path.relative_to(ROOT) for part in ("imgcls", "configs") for path in (ROOT / part).rglob("*")]
        names = [name for name in names if (ROOT / name).is_file() and "__pycache__" not in name.parts]
        names += [Path(name) for name in ("pyproject.toml", "setup.py", "README.md", "MANIFEST.in")]
    else:
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
        names = [Path(name) for name in listed if name and (ROOT / name).is_file()]
    source = tmp_path_factory.mktemp("source")
    for name in names:
        if name.parts[0] != "tests":
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    wheels = tmp_path_factory.mktemp("wheels")
    built = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, str(wheels)],
        cwd=source, env=_clean_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    (wheel,) = wheels.iterdir()
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def test_the_wheel_holds_every_file_of_the_package(installed):
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "imgcls").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    held = {path.relative_to(installed).as_posix() for path in (installed / "imgcls").rglob("*") if path.is_file()}
    assert held - ours == {f"imgcls/recipes/shipped/{path.name}" for path in (ROOT / "configs").glob("*.toml")}, (
        "what the build adds"
    )
    assert not ours - held
    for path in (ROOT / "configs").glob("*.toml"):
        assert (installed / "imgcls/recipes/shipped" / path.name).read_bytes() == path.read_bytes()


def test_recipes_work_by_name_from_any_folder(installed, tmp_path):
    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "imgcls", *arguments]
        environment = _clean_environment(PYTHONPATH=str(installed))
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, encoding="utf-8"
        )

    listed = run("recipes", "-f", "json")
    assert listed.returncode == 0, listed.stderr
    assert str(installed) in listed.stdout
    for name in ("cnn", "finetune"):
        printed = run("recipes", name)
        assert printed.stdout == (ROOT / "configs" / f"{name}.toml").read_text(encoding="utf-8")
    resolved = run("train", "-c", "cnn", "--print-config")
    assert resolved.returncode == 0, resolved.stderr
    assert "widths = [32, 96, 192]" in resolved.stdout
