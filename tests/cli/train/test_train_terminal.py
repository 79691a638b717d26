"""What a person sees of `imgcls train` on a terminal."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from run_events import started
from terminal import ESCAPE, Terminal

from imgcls.cli.train.columns import columns_for, header
from imgcls.cli.train.live import row_stride

TINY = ("--set", "model.arguments.widths=[4, 4, 8, 8]", "--set", "data.image_px=8", "--batch-size", "8", "--epochs", 3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "photos"
    generator = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green")):
        (folder / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 90, (8, 8, 3), dtype=np.uint8)
            pixels[..., channel] += 150
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def lines(seen):
    """Every line that ever stood there; colours don't break it."""
    return [
        line for line in re.split(r"[\r\n]+", ESCAPE.sub("\n", re.sub(r"\x1b\[[0-9;]*m", "", seen))) if line.strip()
    ]


def watch(imgcls, photos, run, columns, *options, **environment):
    terminal = Terminal(columns)
    with (run.parent / f"{run.name}.out").open("wb") as stdout:
        finished = imgcls(
            "train", "--data", photos, *TINY, "-o", run, *options,
            stdout=stdout, stderr=terminal.end, **{"TERM": "xterm-256color", "COLUMNS": "", **environment},
        )  # fmt: skip
    seen = terminal.close()
    assert finished.code == 0, seen
    return seen


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_a_table_that_grows(imgcls, photos, tmp_path, columns):
    seen = watch(imgcls, photos, tmp_path / "run", columns)
    shown = lines(seen)
    told = [line for line in shown if line.startswith(("cnn:", "on "))]
    assert all(len(line.rstrip()) <= columns for line in shown if line not in told)
    rows = [line.split() for line in shown if re.match(r" *[123]/3 ", line)]
    measured = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row[:4] for row in rows] == [
        [f"{line['epoch']}/3", f"{line['train_loss']:.4f}", f"{line['loss']:.4f}", row[3]]
        for line, row in zip(measured, rows, strict=True)
    ]
    best = [max(line["top1"] for line in measured[: number + 1]) for number in range(3)]
    assert all(row[3].startswith(f"{line['top1']:.2%}") for line, row in zip(measured, rows, strict=True))
    assert rows[0][3].endswith("*")
    assert f"best {best[-1]:.2%}" in seen
    assert "epoch 1/3" in seen
    assert re.search(r"loss [▁▂▃▄▅▆▇█]{3}", seen)
    assert ("elapsed" in seen) is (columns == 200)
    # In the end what stood below the table is wiped away, and the cursor is given back.
    end = seen.rpartition(f"best {best[-1]:.2%}")[2]
    assert end.count("\x1b[2K") >= 2
    assert "\x1b[?25h" in end


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_what_the_environment_asks_for(imgcls, photos, tmp_path, environment):
    seen = watch(imgcls, photos, tmp_path / "run", 80, **environment)
    if "TERM" in environment:
        assert "\x1b" not in seen
        assert [line.split("   ")[0] for line in lines(seen)[2:]] == ["epoch 1/3", "epoch 2/3", "epoch 3/3"]
    else:
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]", seen)
        assert "3/3" in seen


def test_quiet_shows_nothing(imgcls, photos, tmp_path):
    assert watch(imgcls, photos, tmp_path / "run", 80, "-q") == ""


def test_a_resumed_run_shows_where_it_stands(imgcls, photos, tmp_path):
    run = tmp_path / "run"
    cut = imgcls("train", "--data", photos, *TINY, "-o", run, "--max-time", "0.001s", "--epochs", 40)
    assert cut.code == 0
    terminal = Terminal(100)
    with (tmp_path / "out").open("wb") as stdout:
        imgcls("train", "--resume", run, stdout=stdout, stderr=terminal.end, TERM="xterm", COLUMNS="")
    assert [line.split()[0] for line in lines(terminal.close()) if re.match(r" *\d+/40 ", line)] == [
        f"{epoch}/40" for epoch in range(1, 41)
    ]


def test_columns_go_by_rank_until_they_fit():
    many = started(epochs=100_000)
    titles = [[column.title.strip() for column in columns_for(many, width=width)] for width in (200, 80, 30, 5)]
    assert titles[0] == [
        "epoch", "train loss", "val loss", "top-1", "top-5", "lr", "images/s", "train s", "val s", "elapsed"
    ]  # fmt: skip
    assert titles[1] == ["epoch", "train loss", "val loss", "top-1", "lr", "images/s", "train s"]
    assert titles[2] == ["epoch", "train loss"]
    assert titles[3] == ["epoch"]
    for width in (200, 80, 30):
        assert max(map(len, header(columns_for(many, width=width)).plain.splitlines())) <= width


@pytest.mark.parametrize(
    ("epochs", "stride"), [(1, 1), (200, 1), (201, 2), (1000, 5), (1001, 10), (4001, 50), (100_000, 500)]
)
def test_long_runs_show_a_few_hundred_rows(epochs, stride):
    assert row_stride(epochs) == stride
