"""The scripts for cron and Slurm in the guide on many images, taken from there and run by a shell."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import save_image, save_images

from imgcls.outputs.lock import exclusive

if os.name == "nt":
    pytest.skip("needs a POSIX shell", allow_module_level=True)
pytest.importorskip("onnx", reason="onnx is not installed: pip install 'imgcls[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'imgcls[onnx]'")

ROOT = Path(__file__).parents[2]


def recipes() -> list[str]:
    """The scripts of the guide."""
    guide = (ROOT / "docs" / "pages" / "guides" / "batch-and-cron.md").read_text("utf-8")
    return [block for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) if block.startswith("#!/bin/sh\n")]


class Machine:
    """A folder that stands for a machine: commands, images, results, and the mail that was sent."""

    def __init__(self, root: Path) -> None:
        from onnx_files import write_own

        self.root = root
        self.model = write_own(root / "model.onnx")
        self.mail = root / "mail"
        self.put("mail", f'printf "%s|" "$@" >>{self.mail}; cat >>{self.mail}')
        # The recipes' own words, with a model that starts in a moment.
        self.put("imgcls", f'exec {shlex.quote(sys.executable)} -m imgcls "$@" -m {self.model}')

    def put(self, name: str, script: str) -> None:
        """Install a command."""
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, recipe: str, **environment: str) -> int:
        """Run a recipe whose folders lie below this one; its exit code."""
        path = self.root / "recipe"
        path.write_text(re.sub(r"(?<=[\s>])/(srv|var/log|data)/", rf"{self.root}/\1/", recipe))
        search = f"{self.root / 'bin'}{os.pathsep}{os.environ['PATH']}"
        variables = os.environ | {"PATH": search, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
        return subprocess.run(["/bin/sh", path], env=variables, cwd=self.root, check=False, timeout=300).returncode


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_recipes_are_there():
    assert ["crontab" in recipe for recipe in recipes()] == [True, False]
    assert all("predict" in recipe for recipe in recipes())


def test_cron(machine):
    recipe = recipes()[0]
    inbox, output = machine.root / "srv" / "inbox", machine.root / "srv" / "results.jsonl"
    log = machine.root / "var" / "log" / "classify-inbox.log"
    log.parent.mkdir(parents=True)
    save_images(inbox, 3)
    assert machine.run(recipe) == 0
    assert not machine.mail.exists()
    assert re.fullmatch(r".*20\d\d.*\n3 images: 3 ok, .*\n", log.read_text())
    save_image(inbox / "new.png")
    (inbox / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    assert machine.run(recipe) == 4
    assert "5 images: 4 ok (3 kept from before), 1 failed" in log.read_text()
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [Path(record["input"]).name for record in records] == [path.name for path in sorted(inbox.iterdir())]
    with exclusive(output):
        assert machine.run(recipe) == 8
    (inbox / "torn.jpg").unlink()
    machine.model.unlink()
    assert machine.run(recipe) == 6
    assert re.findall(r"-s\|(.*?)\|ops\|", machine.mail.read_text()) == [
        "inbox: some images failed, and their records say why",
        "inbox: the last run is still running, or the disk is full",
        "inbox: imgcls ended with 6",
    ]
    assert f"error: another run is writing {output}" in machine.mail.read_text()
    assert len(output.read_text().splitlines()) == 5


def test_a_slurm_array(machine):
    recipe = recipes()[1]
    # Three shares in place of eight take less time.
    assert recipe.count("1-8") == recipe.count("/8 ") == 1
    recipe = recipe.replace("1-8", "1-3").replace("/8 ", "/3 ")
    photos = machine.root / "data" / "photos"
    names = [str(path) for path in save_images(photos, 12)]
    (photos / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    names.append(str(photos / "torn.jpg"))
    tasks = range(1, 1 + int(re.search(r"^#SBATCH --array=1-(\d+)$", recipe, re.MULTILINE)[1]))
    # A failed image is no failed task. The one that Slurm runs again adds nothing.
    assert [machine.run(recipe, SLURM_ARRAY_TASK_ID=str(task)) for task in (*tasks, 1)] == [0] * 4
    shares = [(machine.root / f"results-{task}.jsonl").read_text().splitlines() for task in tasks]
    assert sorted(json.loads(line)["input"] for share in shares for line in share) == names
    # Paths decide the shares, and this folder's name differs each time: one share may be empty, but none holds all.
    assert max(map(len, shares)) < len(names)
