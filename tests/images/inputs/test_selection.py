"""Which of many inputs are taken."""

import os
from pathlib import Path

import pytest

from imgcls.errors import UsageError
from imgcls.images.inputs.selection import InputSelection, SelectedSources
from imgcls.images.inputs.source import Source
from imgcls.images.inputs.subset import Shard, parse_newer_than, parse_shard


def test_shards_part_the_inputs_exactly_and_evenly():
    names = [f"shots/{number}.jpg" for number in range(3000)]
    for count in (1, 2, 7):
        shares = [[name for name in names if Shard(index, count).has(name)] for index in range(1, count + 1)]
        assert sorted(name for share in shares for name in share) == sorted(names)
        assert all(abs(len(share) - 3000 / count) < 200 for share in shares)


def test_a_shard_is_the_same_on_every_machine_and_in_every_version():
    # Frozen: machines with different versions must agree on who does what.
    first = [number for number in range(8) if Shard(1, 4).has(f"{number}.jpg")]
    assert first == [2, 4, 5, 6]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "1/4/2", "-1/4", ""])
def test_shards_that_mean_nothing(text):
    with pytest.raises(UsageError, match="is not I/N"):
        parse_shard(text)


def test_ages_and_dates(tmp_path):
    assert parse_newer_than("90s", now=1000) == 910 * 10**9
    assert parse_newer_than("1.5m", now=1000) == 910 * 10**9
    assert parse_newer_than("2h", now=10_000) == 2800 * 10**9
    assert parse_newer_than("1w", now=604_800) == 0
    assert parse_newer_than("2026-11-20T12:00:00+00:00") == 1795176000 * 10**9
    stamp = tmp_path / "stamp"
    stamp.touch()
    os.utime(stamp, ns=(5, 5))
    assert parse_newer_than(str(stamp)) == 5


@pytest.mark.parametrize("text", ["yesterday", "3 days", "9" * 400 + "d", "0001-01-01", "١h"])
def test_ages_that_mean_nothing(text):
    with pytest.raises(UsageError, match="is no age, date or file"):
        parse_newer_than(text)


def test_only_files_that_are_new_enough(tmp_path):
    old, new = tmp_path / "old.jpg", tmp_path / "new.jpg"
    for path, time_ns in ((old, 100), (new, 101)):
        path.touch()
        os.utime(path, ns=(time_ns, time_ns))
    sources = [Source("old", old), Source("new", new), Source("gone", tmp_path / "gone"), Source("u", url="http://u")]
    selected = SelectedSources(sources, newer_than_ns=100)
    # What can't be asked for its age gets a record that says why.
    assert [source.name for source in selected] == ["new", "gone", "u"]
    assert selected.num_left_out == 1


def test_a_lists_dash_is_a_file_and_not_stdin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("list").write_text("-\na.jpg\n")
    sources = list(InputSelection((), files_from="list").open())
    assert [source.path for source in sources] == [Path("-"), Path("a.jpg")]


def test_nothing_named_is_a_mistake():
    with pytest.raises(UsageError, match="nothing to classify"):
        InputSelection(()).open()


def test_options_are_checked_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="--shard"):
        InputSelection(("missing",), shard="9/3").open()
    with pytest.raises(UsageError, match="--newer-than"):
        InputSelection(("missing",), newer_than="soon").open()
