"""Every command's answer on a stdout that is full, closed, or read by somebody who leaves; and on a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from labelled_data import write_classes
from run_events import epoch_end
from tiny_model import save_image

from imgcls.recipes.loading import load_recipe, recipe_text
from imgcls.runs.folder import RunFolder

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")

RECIPE = """
model = { name = "mlp", arguments = { hidden = [4] } }
data = { image_px = 8, val_fraction = 0.5 }
train = { epochs = 1, batch_size = 2 }
"""


@pytest.fixture
def folder(tmp_path: Path, tiny_model: Path) -> Path:
    """An image, a data set, a model."""
    save_image(tmp_path / "a.png")
    write_classes(tmp_path / "data", {"cat": 2, "dog": 2})
    (tmp_path / "m.pt").write_bytes(tiny_model.read_bytes())
    (tmp_path / "small.toml").write_text(RECIPE)
    with RunFolder.create(tmp_path / "run", name="cnn") as run:
        run.write_config(recipe_text(load_recipe()))
        run.append_metrics(epoch_end(1).to_dict())
    return tmp_path


ANSWERS = [
    ["--help"],
    ["--version"],
    ["predict", "--help"],
    ["train", "--help"],
    *(["predict", "a.png", "-m", "m.pt", "-f", format_] for format_ in ("table", "json", "jsonl", "csv")),
    *(["eval", "m.pt", "--data", "data", "-f", format_] for format_ in ("table", "json")),
    ["models", "-q"],
    ["recipes", "cnn", "-q"],
    ["train", "--print-config"],
    *(["compare", "run", "-f", format_] for format_ in ("table", "json")),
    ["env-check", "--device", "cpu", "-f", "json"],
    ["train", "-c", "small.toml", "--data", "data", "--device", "cpu", "-q"],
]


@pytest.mark.parametrize("arguments", ANSWERS, ids=" ".join)
def test_a_full_disk_under_stdout_is_code_8(imgcls, folder, arguments):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        run = imgcls(*arguments, stdout=full, cwd=folder)
    assert run.code == 8, run.stderr
    error = [line for line in run.stderr.splitlines() if not line.startswith("warning: ")]
    assert error[0] == "error: can't write to stdout: No space left on device"
    assert len(error) == 2


@pytest.mark.parametrize("arguments", ANSWERS, ids=" ".join)
def test_a_reader_that_has_gone_is_code_141(imgcls, folder, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    run = imgcls(*arguments, stdout=writer, cwd=folder)
    os.close(writer)
    assert (run.code, [line for line in run.stderr.splitlines() if "warning" not in line]) == (141, [])


# Those that begin with torch's import, two seconds each, are slow ones.
QUICK = ("--help", "--version", "predict", "models", "recipes", "compare")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(a, marks=[] if a[0] in QUICK or "--help" in a else pytest.mark.slow, id=" ".join(a))
        for a in ANSWERS
    ],
)
def test_a_closed_stdout_is_code_8(folder, arguments):
    command = f"{sys.executable} -m imgcls {' '.join(arguments)} >&-"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        command, shell=True, stderr=subprocess.PIPE, text=True, check=False, env=environment, cwd=folder
    )
    assert (run.returncode, run.stderr.splitlines()[-2:][0]) == (8, "error: stdout is closed")


def test_no_file_takes_the_place_of_a_closed_stdout(folder):
    # A library that prints would write into it.
    script = (
        "import os; from imgcls.cli.process import startup; startup.hold_closed_files(); print_to = os.open('x', 65)"
    )
    script += "; os.write(1, b'said by a library'); os.write(2, b'and here')"
    command = f'{sys.executable} -c "{script}" >&- 2>&-'
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run(command, shell=True, check=False, env=environment, cwd=folder).returncode == 0
    assert (folder / "x").read_bytes() == b""


EVIL = "\x1b]0;title\x07\x9b2J\u202egnp"


def assert_harmless(text: str) -> None:
    assert {char for char in text if not char.isprintable()} <= {"\n"}
    assert "\\x1b]0;title\\x07" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["{}.png", "-m", "m.pt"],
        ["a.png", "-m", "{}"],
        ["--files-from", "{}", "-m", "m.pt"],
        ["--newer-than", "{}", "a.png"],
        ["a.png", "-m", "m.pt", "-o", "no/{}/r.xlsx"],
        ["a.png", "--{}"],
    ],
)
def test_a_name_never_steers_the_terminal(imgcls, folder, arguments):
    run = imgcls("predict", *(argument.format(EVIL) for argument in arguments), cwd=folder)
    assert run.code != 0
    assert_harmless(run.stderr + run.stdout.decode())


def test_a_label_never_steers_the_terminal(imgcls, folder):
    (folder / "data" / "cat").rename(folder / "data" / EVIL)
    run = imgcls("eval", "m.pt", "--data", "data", cwd=folder)
    assert_harmless(run.stderr + run.stdout.decode())


def test_labels_in_a_table_are_shown(tmp_path: Path) -> None:
    from rich.table import Table

    from imgcls.cli.shield import ShieldedConsole

    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        console = ShieldedConsole(file=file, width=120, force_terminal=True)
        table = Table("class")
        table.add_row(EVIL, style="bold red")
        console.print(table)
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert "\x1b]0;" not in text
    assert "\u202e" not in text
    # Colours of our own pass.
    assert "\x1b[" in text


def test_labels_in_a_live_display_are_shown(tmp_path: Path) -> None:
    from rich.live import Live
    from rich.progress import Progress, TextColumn

    from imgcls.cli.shield import ShieldedConsole

    path = tmp_path / "out"
    with path.open("w", encoding="utf-8") as file:
        console = ShieldedConsole(file=file, width=120, force_terminal=True, highlight=False)
        with Live(EVIL, console=console, auto_refresh=False) as live:
            console.print(EVIL, markup=False)
            live.refresh()
        with Progress(TextColumn("{task.description}"), console=console, auto_refresh=False) as bar:
            bar.add_task(EVIL)
            bar.refresh()
        console.print(EVIL, markup=False)
    text = path.read_text(encoding="utf-8")
    assert text.count("\\x1b]0;") >= 4
    assert "\x1b]0;" not in text
    assert "\u202e" not in text
    # The display's own steps pass: it is drawn over, not repeated.
    assert "\x1b[2K" in text
