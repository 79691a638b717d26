"""`imgcls predict --ray` in real clusters on this machine: same records, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tiny_model import save_images

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Ray's clusters are for Linux and macOS"),
]
ray = pytest.importorskip("ray", reason="pip install 'imgcls[ray]'")
PATIENCE_SEC = 400
NUM_IMAGES = 150


def command(*arguments: object, cwd: Path) -> list[str]:
    return [sys.executable, "-m", "imgcls", *map(str, arguments)]


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, cwd=cwd), cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_SEC, check=False
    )


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments, cwd=cwd), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_journal(record: dict) -> dict:
    return {key: value for key, value in record.items() if key not in ("size_bytes", "modified_ns", "settings")}


def assert_same(found: list[dict], expected: list[dict]) -> None:
    assert [each["input"] for each in found] == [each["input"] for each in expected]
    for one, other in zip(found, expected, strict=True):
        one, other = without_journal(one), without_journal(other)
        assert one | {"predictions": ()} == other | {"predictions": ()}
        for mine, theirs in zip(one.get("predictions", ()), other.get("predictions", ()), strict=True):
            assert mine["label"] == theirs["label"]
            assert mine["probability"] == pytest.approx(theirs["probability"], abs=1e-6)


def processes_of_ray() -> set[int]:
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    names = ("ray::", "raylet", "gcs_server")
    return {int(line.split()[0]) for line in found.splitlines() if any(name in line for name in names)}


def wait_for(what, *, patience_sec: float = 200) -> None:
    deadline = time.monotonic() + patience_sec
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images that are fast to decode, one of them damaged."""
    images = save_images(tmp_path / "in", 120)
    images[5].write_bytes(images[5].read_bytes()[:60])
    return tmp_path


@pytest.fixture
def slow_folder(tmp_path: Path) -> Path:
    """A hundred and fifty names of one image that takes a while, and what a run without a cluster says of them."""
    (tmp_path / "in").mkdir()
    Image.linear_gradient("L").resize((1500, 1500)).convert("RGB").save(tmp_path / "one.png")
    for number in range(NUM_IMAGES):
        os.link(tmp_path / "one.png", tmp_path / "in" / f"{number:03}.png")
    (tmp_path / "in" / "070.png").unlink()
    (tmp_path / "in" / "070.png").write_bytes(b"damaged")
    return tmp_path


def slow_down(folder: Path) -> None:
    """Let the run last until what happens to it is noticed: all names are links to this file."""
    Image.linear_gradient("L").resize((5000, 5000)).convert("RGB").save(folder / "one.png")


def check_slow_records(folder: Path, model: Path) -> None:
    done = run("collect", "out", "-o", "all.jsonl", "--overwrite", cwd=folder)
    assert done.returncode == 0, done.stderr
    found = lines(folder / "all.jsonl")
    assert [each["input"] for each in found] == [f"in/{number:03}.png" for number in range(NUM_IMAGES)]
    assert [each["input"] for each in found if each["status"] == "error"] == ["in/070.png"]
    good = [each["predictions"] for each in found if each["status"] == "ok"]
    assert all(each == good[0] for each in good)
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["counts"]["count"] == sum(part["rows"] for part in manifest["parts"]) == NUM_IMAGES


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator["ray.cluster_utils.Cluster"]:
    """A head without cores, and two nodes of one core each."""
    from ray.cluster_utils import Cluster

    # Ray makes workers nice, and they would starve beside other tests.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    made = Cluster()
    for attempts_left in (2, 1, 0):
        try:
            made.add_node(num_cpus=0, include_dashboard=False)
            break
        except RuntimeError:
            # Ray waits for its own processes for 30 s, which a machine that runs other tests may need longer for.
            if not attempts_left:
                raise
    try:
        made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
        yield made
    finally:
        made.shutdown()


def test_a_local_run_has_the_records_of_one_process_and_resumes(tiny_model, folder):
    before = processes_of_ray()
    common = ("-m", tiny_model, "--runtime", "torch")
    plain = run("predict", "in", *common, "-o", "plain.jsonl", cwd=folder)
    assert plain.returncode == 4
    spread = ("predict", "in", *common, "--ray", "local", "--part-size", 20, "-o", "out")
    first = run(*spread, cwd=folder)
    assert (first.returncode, first.stdout) == (4, ""), first.stderr
    summary, wrote = first.stderr.splitlines()
    assert summary.startswith("120 images: 119 ok, 1 failed (1 corrupt_image)")
    assert wrote.endswith("imgcls collect " + str(folder / "out") + " -o all.jsonl joins them")
    assert processes_of_ray() == before
    # Whatever the suffix, in the order of the inputs.
    assert run("collect", "out", "-o", "all.jsonl", cwd=folder).returncode == 0
    assert_same(lines(folder / "all.jsonl"), lines(folder / "plain.jsonl"))
    assert run("collect", "out", "-f", "csv", cwd=folder).stdout.count("\n") == 121
    check_other_readers(folder)
    assert run(*spread, cwd=folder).returncode == 8
    # One image changes, one goes, one part is lost.
    save_images(folder / "in", 1)
    os.utime(folder / "in" / "0000.png", ns=(1, 1))
    (folder / "in" / "0119.png").unlink()
    next(iter(sorted((folder / "out").glob("part-*")))).unlink()
    again = run(*spread, "--resume", cwd=folder)
    assert "119 images: 118 ok (" in again.stderr
    assert run("collect", "out", "-o", "all.jsonl", "--overwrite", cwd=folder).returncode == 0
    assert_same(lines(folder / "all.jsonl"), lines(folder / "plain.jsonl")[:-1])


def check_other_readers(folder: Path) -> None:
    """The folder of parts is one table to other programs."""
    from pyarrow import dataset

    table = dataset.dataset(folder / "out", format="parquet", exclude_invalid_files=True).to_table()
    assert table.num_rows == 120
    assert sorted(table["input"].to_pylist()) == sorted(f"in/{number:04}.png" for number in range(120))
    duckdb = pytest.importorskip("duckdb", reason="pip install duckdb")
    (counts,) = duckdb.sql(
        f"select count(*), count(distinct input), sum((status = 'error')::int) from '{folder}/out/*.parquet'"
    ).fetchall()
    assert counts == (120, 120, 1)


def test_workers_and_nodes_that_are_killed_change_no_record_and_a_new_node_is_used(cluster, tiny_model, slow_folder):
    address = cluster.address
    slow_down(slow_folder)
    running = start("predict", "in", "-m", tiny_model, "--ray", address, "--part-size", 4, "-o", "out", cwd=slow_folder)
    parts = slow_folder / "out"

    def has_parts(count: int) -> bool:
        assert running.poll() is None, running.communicate()
        return len(list(parts.glob("part-*"))) >= count

    wait_for(lambda: has_parts(2))
    killed = next(iter(workers_of(running)))
    os.kill(killed, signal.SIGKILL)
    # Another has taken its place, so that whichever node goes takes a worker with it.
    wait_for(lambda: has_parts(5) and len(workers_of(running) - {killed}) == 2)
    # A whole node, its workers included, and another one in its place.
    cluster.remove_node(cluster.nodes[0], allow_graceful=False)
    cluster.add_node(num_cpus=1)
    _, errors = running.communicate(timeout=PATIENCE_SEC)
    assert running.returncode == 4, errors
    check_slow_records(slow_folder, tiny_model)
    manifest = json.loads((parts / "manifest.json").read_text())
    assert manifest["workers_lost"] >= 2
    assert "died during the run; others repeated their work" in errors


def workers_of(running: subprocess.Popen[str]) -> set[int]:
    found = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {int(line.split()[0]) for line in found.splitlines() if "ray::BlockWorker" in line}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_run_that_is_cut_leaves_whole_parts_and_is_continued(tiny_model, slow_folder, number, code):
    before = processes_of_ray()
    spread = ("predict", "in", "-m", tiny_model, "--ray", "local", "--part-size", 4, "-o", "out")
    running = start(*spread, cwd=slow_folder)
    parts = slow_folder / "out"
    wait_for(lambda: len(list(parts.glob("part-*"))) >= 3 or running.poll() is not None)
    running.send_signal(number)
    _, errors = running.communicate(timeout=PATIENCE_SEC)
    assert running.returncode == code, errors
    assert not (parts / "manifest.json").exists()
    # Nothing of Ray stays, though it may take a moment where its owner was killed.
    wait_for(lambda: processes_of_ray() <= before)
    refused = run("collect", "out", "-o", "all.jsonl", cwd=slow_folder)
    assert (refused.returncode, "holds no finished run" in refused.stderr) == (5, True)
    again = run(*spread, "--resume", cwd=slow_folder)
    assert again.returncode == 4, again.stderr
    assert "kept from before" in again.stderr
    check_slow_records(slow_folder, tiny_model)


def test_a_head_that_is_lost_is_a_clear_error_and_the_run_goes_on_elsewhere(cluster, tiny_model, slow_folder):
    slow_down(slow_folder)
    spread = ("predict", "in", "-m", tiny_model, "--part-size", 4, "-o", "out")
    running = start(*spread, "--ray", cluster.address, cwd=slow_folder)
    parts = slow_folder / "out"
    wait_for(lambda: len(list(parts.glob("part-*"))) >= 2 or running.poll() is not None)
    cluster.head_node.kill_gcs_server()
    _, errors = running.communicate(timeout=PATIENCE_SEC)
    assert running.returncode == 7, errors
    assert "error: the head of the Ray cluster is gone" in errors
    again = run(*spread, "--ray", "local", "--resume", cwd=slow_folder)
    assert again.returncode == 4, again.stderr
    check_slow_records(slow_folder, tiny_model)


def test_no_cluster_is_an_error_that_says_what_to_do(tiny_model, folder):
    done = run("predict", "in", "-m", tiny_model, "--ray", "127.0.0.1:9", "-o", "out", cwd=folder)
    assert done.returncode == 7, done.stderr
    assert "error: no Ray cluster at 127.0.0.1:9" in done.stderr
