"""Cores and memory under the limits of control groups, read from trees as the kernel shows them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from imgcls.host.cgroups import ControlGroups, Limits
from imgcls.host.resources import (
    Memory,
    available_bytes,
    available_cores,
    obey_core_limit,
    prefer_large_pages,
    read_cores,
    read_memory,
)

MIB = 2**20
NO_LIMIT_V1 = "9223372036854771712\n"


@pytest.fixture
def groups(tmp_path):
    """Writes a tree of control groups."""

    def write(membership: str, files: dict[str, str]) -> ControlGroups:
        for name, text in files.items():
            (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / name).write_text(text)
        (tmp_path / "membership").write_text(membership)
        return ControlGroups(tmp_path / "root", tmp_path / "membership")

    return write


@pytest.fixture
def meminfo(tmp_path) -> Path:
    """A machine of 8 GiB, 6 of which are available."""
    path = tmp_path / "meminfo"
    path.write_text(f"MemTotal:       {8192 * 1024} kB\nMemFree: 1 kB\nMemAvailable:   {6144 * 1024} kB\n")
    return path


def test_version_2_takes_the_tightest_limit_of_all_parents(groups):
    limits = groups(
        "0::/jobs/job7\n",
        {
            "jobs/job7/cpu.max": "max 100000\n",
            "jobs/cpu.max": "150000 100000\n",
            "jobs/job7/memory.max": f"{2048 * MIB}\n",
            "jobs/job7/memory.current": f"{1024 * MIB}\n",
            "jobs/memory.max": "max\n",
        },
    ).read_limits()
    assert limits == Limits(1.5, 2048 * MIB, 1024 * MIB)


def test_version_1(groups):
    limits = groups(
        "4:memory:/box\n3:cpu,cpuacct:/box\n",
        {
            "cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n",
            "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "memory/box/memory.limit_in_bytes": f"{100 * MIB}\n",
            "memory/box/memory.usage_in_bytes": f"{40 * MIB}\n",
            "memory/memory.limit_in_bytes": NO_LIMIT_V1,
        },
    ).read_limits()
    assert limits == Limits(0.5, 100 * MIB, 60 * MIB)


@pytest.mark.parametrize(
    ("membership", "folder", "names", "prefix"),
    [
        ("0::/job", "job", ("memory.max", "memory.current"), ""),
        ("4:memory:/job", "memory/job", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_"),
    ],
    ids=["version 2", "version 1"],
)
def test_page_cache_is_not_in_use(groups, meminfo, membership, folder, names, prefix):
    # As after reading a data set of 1,500 MiB in a container of 2 GiB, whose own memory is 200 MiB. The lines without
    # "total_" count one group alone in version 1.
    stat = (
        f"cache 1\nanon 1\ninactive_file 1\nactive_file 1\n"
        f"{prefix}inactive_file {1000 * MIB}\n{prefix}active_file {500 * MIB}\n"
    )
    if not prefix:
        stat = stat.replace("\ninactive_file 1\nactive_file 1", "")
    found = groups(
        membership + "\n",
        {
            f"{folder}/{names[0]}": f"{2048 * MIB}\n",
            f"{folder}/{names[1]}": f"{1700 * MIB}\n",
            f"{folder}/memory.stat": stat,
        },
    )
    assert read_memory(found, meminfo=meminfo) == Memory(2048 * MIB, 1848 * MIB, 2048 * MIB)


def test_of_nested_groups_the_one_with_the_least_left_counts(groups, meminfo):
    # The job may have 1 GiB and holds none of it, but its neighbours have all but 100 MiB of what they share.
    found = groups(
        "0::/shared/job\n",
        {
            "shared/memory.max": f"{4096 * MIB}\n",
            "shared/memory.current": f"{3996 * MIB}\n",
            "shared/job/memory.max": f"{1024 * MIB}\n",
            "shared/job/memory.current": "0\n",
        },
    )
    assert read_memory(found, meminfo=meminfo) == Memory(1024 * MIB, 100 * MIB, 1024 * MIB)


def test_the_machine_may_have_less_than_the_group_allows(groups, meminfo):
    files = {"memory.max": f"{16384 * MIB}\n", "memory.current": "0\n"}
    assert read_memory(groups("0::/\n", files), meminfo=meminfo) == Memory(8192 * MIB, 6144 * MIB, 16384 * MIB)


def test_a_group_over_its_limit_has_nothing_left(groups, meminfo):
    files = {"memory.max": f"{10 * MIB}\n", "memory.current": f"{11 * MIB}\n"}
    assert read_memory(groups("0::/\n", files), meminfo=meminfo).available_bytes == 0


def test_a_container_that_sees_its_own_group_as_the_root(groups):
    files = {"cpu.max": "200000 100000\n"}
    assert groups("0::/host/path/of/the/container\n", files).read_limits().cores == 2.0


def test_a_group_outside_the_namespace_leads_nowhere_else(groups, tmp_path):
    (tmp_path / "cpu.max").write_text("100000 100000\n")
    assert groups("0::/../\n", {"cpu.max": "300000 100000\n"}).read_limits().cores == 3.0


def test_version_2_beside_version_1(groups):
    found = groups("1:cpu:/\n0::/job\n", {"unified/job/cpu.max": "100000 100000\n", "cpu/cpu.cfs_quota_us": "-1\n"})
    assert found.read_limits().cores == 1.0


@pytest.mark.parametrize("damage", ["", "no colon", "0::/\n\xff"])
def test_no_limits_and_no_groups(groups, tmp_path, damage):
    assert groups("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"}).read_limits() == Limits()
    (tmp_path / "membership").write_text(damage, encoding="latin-1")
    assert ControlGroups(tmp_path / "root", tmp_path / "membership").read_limits() == Limits()
    assert ControlGroups(tmp_path, tmp_path / "missing").read_limits() == Limits()


@pytest.mark.parametrize(("quota", "usable"), [(10_000, 1), (100_000, 1), (100_001, 2), (10**9, None)])
def test_each_begun_core_of_a_quota_is_usable(groups, quota, usable):
    cores = read_cores(groups("0::/\n", {"cpu.max": f"{quota} 100000\n"}))
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert cores.usable == min(usable or affinity, affinity)
    assert cores.group_limit == quota / 100_000
    assert cores.total == os.cpu_count()


@pytest.mark.skipif(read_cores().affinity < 2, reason="one core can't be limited further")
def test_numerical_libraries_obey_a_quota_where_nobody_asked_for_something_else(groups, monkeypatch):
    limited = groups("0::/job\n", {"job/cpu.max": "100000 100000\n"})
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    obey_core_limit(limited)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    obey_core_limit(ControlGroups(limited.root, limited.root / "in no group"))
    assert "OMP_NUM_THREADS" not in os.environ
    obey_core_limit(limited)
    assert os.environ["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("told", ["0", None])
def test_large_pages_are_asked_for_unless_somebody_says_otherwise(monkeypatch, told):
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    if told is not None:
        monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", told)
    else:
        monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "")
        monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    prefer_large_pages()
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == (told or "1")


def test_memory_of_a_machine_that_tells_nothing(groups, tmp_path):
    unknown = read_memory(groups("", {}), meminfo=tmp_path / "missing")
    assert unknown.available_bytes is None
    assert available_bytes() > 0


@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs the taskset command")
def test_every_part_counts_the_cores_that_taskset_leaves():
    code = (
        "from imgcls.host.resources import available_cores; from imgcls.environment.system import check_cores\n"
        "from imgcls.models.onnx import session; from imgcls.inference import predictor\n"
        "from imgcls.datasets import opening, per_process\n"
        "import json; print(json.dumps([available_cores(), check_cores().data['usable'], "
        "*(module.available_cores() for module in (session, predictor, opening, per_process))]))"
    )
    first = str(min(os.sched_getaffinity(0)))
    run = subprocess.run(["taskset", "-c", first, sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(run.stdout) == [1] * 6
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_one_place_counts_cores():
    """Everything else asks `host/resources.py`."""
    package = Path(sys.modules["imgcls"].__file__ or "").parent
    words = ("cpu_count", "sched_getaffinity", "MemAvailable", "SC_PHYS_PAGES")
    found = {path.name for path in package.rglob("*.py") if any(word in path.read_text("utf-8") for word in words)}
    assert found == {"resources.py"}
