"""The direction of imports, the silence of the library, and the speed of `--help`, read from the sources."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imgcls

ROOT = Path(imgcls.__file__).parent
# A room may import from those of a higher number only, and from itself.
LEVELS = {
    "cli": 0,
    "serving": 0,
    "training": 1,
    "tuning": 1,
    "evaluation": 1,
    "inference": 1,
    "export": 1,
    "twins": 1,
    "environment": 1,
    "runs": 2,
    "outputs": 2,
    "recipes": 2,
    "models": 3,
    "datasets": 3,
    "images": 4,
    "distributed": 4,
    "host": 5,
    "errors": 6,
    "_version": 7,
}
# A search is made of training runs, which measure themselves with the figures that `eval` prints; what a run leaves
# behind holds its recipe.
# A twin is an export of its own making, and whatever answers asks for one.
ALLOWED = {
    # The command starts the server, and `predict --server` is one of its clients.
    ("cli", "serving"),
    ("tuning", "training"),
    ("training", "evaluation"),
    ("runs", "recipes"),
    ("inference", "twins"),
    ("evaluation", "twins"),
    ("twins", "export"),
}
# The package itself offers the rooms, lazily; `python -m imgcls` is the command line.
FRONT_DOORS = {"__init__", "__main__"}
# Processes of their own, of `env-check` and of decoding what may run away, whose stdout is a pipe to their parent.
OWN_PROCESS = {"environment/probing_process.py", "images/worker_process/worker.py"}
HEAVY = (
    "torch",
    "torchvision",
    "numpy",
    "PIL",
    "pydantic",
    "jinja2",
    "onnxruntime",
    "optuna",
    "fastapi",
    "uvicorn",
    "httpx",
)
SOURCES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and room of every import from this package, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are written in full"
            # `from imgcls import x` names the room only behind the import.
            names = [f"imgcls.{alias.name}" for alias in node.names] if node.module == "imgcls" else [str(node.module)]
        else:
            continue
        for name in names:
            package, _dot, rest = name.partition(".")
            if package == "imgcls" and rest:
                yield node.lineno, rest.partition(".")[0]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_imports_run_one_way(path):
    room = room_of(path)
    if room in FRONT_DOORS:
        return
    assert room in LEVELS, f"{room} has no place among the rooms"
    for line, other in imported_rooms(tree_of(path)):
        # What the package itself offers (`__version__`) comes from no room.
        if other == room or other == "__version__" or (room, other) in ALLOWED:
            continue
        assert other in LEVELS, f"{name_of(path)}:{line} imports imgcls.{other}, which is no room"
        assert LEVELS[other] > LEVELS[room], f"{name_of(path)}:{line}: {room} must not import {other}"


def test_a_step_back_is_found():
    tree = ast.parse(
        "def f():\n    from imgcls.cli.console import data\nimport imgcls.models.networks\nfrom imgcls import host\n"
    )
    assert sorted(imported_rooms(tree)) == [(2, "cli"), (3, "models"), (4, "host")]


def prints_or_exits(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="print" | "exit" | "quit" as name)):
                yield f"line {node.lineno}: {name}()"
            case ast.Attribute(value=ast.Name(id="sys"), attr="exit" | "stdout" | "stderr" as name):
                yield f"line {node.lineno}: sys.{name}"
            case ast.Attribute(value=ast.Name(id="os"), attr="_exit" | "abort" as name):
                yield f"line {node.lineno}: os.{name}"
            case ast.Attribute(value=ast.Name(id="traceback"), attr="print_exc" | "print_exception" as name):
                yield f"line {node.lineno}: traceback.{name}"
            case ast.Raise(exc=ast.Name(id="SystemExit") | ast.Call(func=ast.Name(id="SystemExit"))):
                yield f"line {node.lineno}: SystemExit"


LIBRARY = [path for path in SOURCES if room_of(path) != "cli" and name_of(path) not in OWN_PROCESS]


@pytest.mark.parametrize("path", LIBRARY, ids=name_of)
def test_library_neither_prints_nor_exits(path):
    assert list(prints_or_exits(tree_of(path))) == []


@pytest.mark.parametrize("path", [path for path in SOURCES if room_of(path) == "cli"], ids=name_of)
def test_only_the_console_prints(path):
    calls = [found for found in prints_or_exits(tree_of(path)) if found.endswith("print()")]
    assert calls == []


def test_prints_and_exits_are_found():
    code = "print(1)\nsys.exit(2)\nraise SystemExit\nsys.stdout.write('')\nimport os; os._exit(1)"
    assert len(list(prints_or_exits(ast.parse(code)))) == 5


COMMANDS = [[], ["env-check"], ["train"], ["tune"], ["eval"], ["predict"], ["serve"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_imports_nothing_heavy(command):
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "imgcls", *command, "--help"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    assert "Usage" in run.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines()}
    assert "typer" in imported, "the list of imports was not read"
    # Typer itself takes pydantic to a command's own options, though not to the list of commands.
    unwanted = imported.intersection(HEAVY) - ({"pydantic"} if command else set())
    assert not unwanted


def test_import_of_the_package_is_light():
    code = f"import imgcls, sys; print([name for name in {HEAVY} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.strip() == "[]"
