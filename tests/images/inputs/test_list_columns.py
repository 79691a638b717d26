"""Lists in tables: the named column in the order of the rows, in blocks, and what is refused."""

import io
import json
import tracemalloc

import pytest
from tiny_model import save_images
from typer.testing import CliRunner

from imgcls.cli.app import app
from imgcls.errors import DataError, UsageError
from imgcls.images.inputs.list_columns import BLOCK_ROWS, read_column
from imgcls.images.inputs.selection import InputSelection

pa = pytest.importorskip("pyarrow")
from pyarrow import parquet  # noqa: E402 - behind the check that it is installed

NAMES = ["a.jpg", "shots/ü b.jpg", "https://example.org/c.png?x=1,2", 'with "quotes".png']


def write_parquet(at, **columns):
    parquet.write_table(pa.table(columns), at)
    return str(at)


def write_csv(path, names, *, head="id,path", delimiter=","):
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(head.replace(",", delimiter) + "\n")
        for number, name in enumerate(names):
            quoted = '"' + name.replace('"', '""') + '"'
            file.write(f"{number}{delimiter}{quoted}\n")
    return str(path)


@pytest.mark.parametrize("column", [None, "path", "PATH"])
def test_a_column_in_every_format(tmp_path, column):
    tables = [
        write_parquet(tmp_path / "a.parquet", id=[1, 2, 3, 4], path=NAMES),
        write_csv(tmp_path / "a.csv", NAMES),
        write_csv(tmp_path / "a.tsv", NAMES, delimiter="\t"),
        write_csv(tmp_path / "b.csv", NAMES, delimiter=";"),
        write_csv(tmp_path / "c.csv", NAMES, head="\ufeffid,path"),
    ]
    for table in tables:
        assert list(read_column(table, column)) == NAMES, table


def test_names_that_are_used_when_none_is_given_and_empty_cells(tmp_path):
    table = write_parquet(tmp_path / "a.parquet", url=["u", "v"], File=["a", None], n=[1, 2])
    assert list(read_column(table)) == ["a"]
    assert list(read_column(table, "url")) == ["u", "v"]
    assert list(read_column(write_csv(tmp_path / "a.csv", ["x", "", "y"]))) == ["x", "y"]
    assert list(read_column("-", "path", stdin=io.BytesIO(b"id,path\r\n1,a.jpg\r\n2,b.jpg\r\n"))) == ["a.jpg", "b.jpg"]


def test_names_outside_utf_8_are_those_of_their_files(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"path\nb\xff.jpg\n")
    assert list(read_column(str(tmp_path / "a.csv"))) == ["b\udcff.jpg"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_long_list_is_never_held_whole(tmp_path, suffix):
    names = [f"folder-{number % 977}/image-{number:09d}.jpg" for number in range(20 * BLOCK_ROWS)]
    path = tmp_path / f"a{suffix}"
    table = write_parquet(path, path=names) if suffix == ".parquet" else write_csv(path, names)
    rows = read_column(table)
    first = next(rows)
    tracemalloc.start()
    try:
        count = sum(1 for _name in rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (first, count + 1) == (names[0], len(names))
    # Python's own part: a few blocks of some 90 bytes per name, not 20 of them.
    assert peak < 5 * BLOCK_ROWS * 90


@pytest.mark.parametrize(
    ("make", "column", "error", "said"),
    [
        (lambda at: write_parquet(at / "a.parquet", path=["a"]), "where", UsageError, "no column 'where'"),
        (lambda at: write_parquet(at / "a.parquet", x=["a"]), None, UsageError, "no column of a usual name"),
        (lambda at: write_parquet(at / "a.parquet", path=[1]), None, UsageError, "holds int64, no text"),
        (lambda at: write_csv(at / "a.csv", ["a"]), "where", UsageError, "takes one of: id, path"),
        (lambda at: str(at / "none.parquet"), None, DataError, "no such file"),
        (lambda at: str(at / "none.csv"), "path", DataError, "can't read the list"),
    ],
)
def test_what_is_refused(tmp_path, make, column, error, said):
    with pytest.raises(error) as caught:
        list(read_column(make(tmp_path), column))
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_a_damaged_parquet_file(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(DataError, match="can't read the list"):
        list(read_column(str(tmp_path / "a.parquet")))


def test_text_without_a_named_column_stays_a_list_of_lines(tmp_path):
    (tmp_path / "a.csv").write_text("a,b.jpg\nc.jpg\n")
    assert [source.name for source in InputSelection((), str(tmp_path / "a.csv")).open()] == ["a,b.jpg", "c.jpg"]


def test_predict_answers_each_row(tmp_path, tiny_model):
    images = save_images(tmp_path / "shots", 3)
    table = write_parquet(tmp_path / "a.parquet", image=[*map(str, images), "gone.png"], label=["x"] * 4)
    result = CliRunner().invoke(app, ["predict", "-m", str(tiny_model), "--files-from", table, "-f", "jsonl"])
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["input"] for record in records] == [*map(str, images), "gone.png"]
    assert [record["status"] for record in records] == ["ok", "ok", "ok", "error"]
    assert result.exit_code == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["photo.jpg", "--input-column", "path"], "add --files-from"),
        (["--files-from", "a.parquet", "-0"], "leave out -0"),
    ],
)
def test_wrong_usage(tmp_path, tiny_model, options, said):
    result = CliRunner().invoke(app, ["predict", "-m", str(tiny_model), *options])
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
