import subprocess
import sys
from collections import Counter

import pytest
import robustness
from odd_files import OTHERS, draw_odd_files


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_drawn_folder_is_classified_as_promised(tmp_path, benchmarks_folder):
    command = [sys.executable, benchmarks_folder / "robustness.py", "--draw", tmp_path / "odd", "--count", "40"]
    run = subprocess.run([*command, "--alone", "1"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    rows = [line.split() for line in run.stdout.splitlines()]
    assert [(row[0], row[1], row[2]) for row in rows[1:4]] == [
        (n, "40", "40") for n in ("sorted", "reversed", "shuffled")
    ]
    assert run.stdout.splitlines()[-1] == "all as promised"


def test_the_folder_is_the_same_for_a_seed(tmp_path):
    for name in ("a", "b"):
        draw_odd_files(tmp_path / name, count=40, seed=1)
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("a", "b"))
    assert first == second
    assert len(first) == 40
    assert set(OTHERS) <= set(first)


def test_the_last_digits_of_probabilities_may_differ():
    assert robustness.same({"p": [0.5, "a"]}, {"p": [0.5 + 1e-8, "a"]})
    for other in ({"p": [0.51, "a"]}, {"p": [0.5, "b"]}, {"p": [0.5]}, {"q": [0.5, "a"]}):
        assert not robustness.same({"p": [0.5, "a"]}, other)


def test_faults_are_told(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    records = [{"input": str(file), "status": "ok"} for file in files]
    good = robustness.Outcome(records, 0, 100, 0, set(), 1)
    assert robustness.faults_of(good, files, {}) == []
    bad = robustness.Outcome(records[::-1], 1, 10**5, 10**6, {"gs -q"}, 1)
    said = robustness.faults_of(bad, files, {str(files[0]): {"status": "error"}})
    assert Counter(words.split()[0] for words in said) == Counter(
        {"records": 1, "1": 1, "exit": 1, "more": 2, "started": 1}
    )
    assert robustness.faults_of(robustness.Outcome([], 0, 1, 0, set(), 1), files, {})[0] == "0 records of 2 inputs"
