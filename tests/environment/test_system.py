import os
import sys

import pytest

from imgcls.environment import system
from imgcls.environment.report import Status
from imgcls.host.cgroups import Limits, read_limits


@pytest.fixture
def groups(tmp_path):
    """Write a tree of control groups and read its limits."""

    def read(membership, files):
        for name, text in files.items():
            (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "root" / name).write_text(text)
        (tmp_path / "membership").write_text(membership)
        return read_limits(tmp_path / "root", tmp_path / "membership")

    return read


def test_version_2_takes_the_tightest_limit_of_all_parents(groups):
    limits = groups(
        "0::/jobs/job7\n",
        {
            "jobs/job7/cpu.max": "max 100000\n",
            "jobs/cpu.max": "150000 100000\n",
            "jobs/job7/memory.max": f"{2048 * 2**20}\n",
            "jobs/job7/memory.current": f"{1024 * 2**20}\n",
            "jobs/job7/memory.stat": f"anon 5\ninactive_file {512 * 2**20}\n",
            "jobs/memory.max": "max\n",
        },
    )
    assert limits == Limits(cores=1.5, memory_mib=2048.0, memory_used_mib=512.0)


def test_version_1(groups):
    limits = groups(
        "4:memory:/box\n3:cpu,cpuacct:/box\n",
        {
            "cpu,cpuacct/box/cpu.cfs_quota_us": "50000\n",
            "cpu,cpuacct/box/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "memory/box/memory.limit_in_bytes": f"{100 * 2**20}\n",
            "memory/box/memory.usage_in_bytes": f"{40 * 2**20}\n",
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    assert limits == Limits(cores=0.5, memory_mib=100.0, memory_used_mib=40.0)


def test_a_container_that_sees_its_own_group_as_the_root(groups):
    assert groups("0::/host/path/of/the/container\n", {"cpu.max": "200000 100000\n"}).cores == 2.0


def test_no_limits_and_no_groups(groups, tmp_path):
    assert groups("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"}) == Limits()
    assert read_limits(tmp_path, tmp_path / "missing") == Limits()


def test_cores_count_what_this_process_may_use():
    free = system.check_cores(Limits())
    assert free.data["total"] == os.cpu_count()
    assert 1 <= free.data["usable"] <= free.data["total"]
    limited = system.check_cores(Limits(cores=0.5))
    assert limited.data["usable"] == 1
    assert "group limit 0.5" in limited.detail


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_cores_follow_the_affinity():
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert system.check_cores(Limits()).data["usable"] == 1
    finally:
        os.sched_setaffinity(0, before)


def test_memory_under_a_groups_limit(monkeypatch):
    monkeypatch.setattr(system, "memory_mib", lambda: (8192.0, 6144.0))
    assert system.check_memory(Limits()).detail == "8.0 GiB, 6.0 GiB available"
    limited = system.check_memory(Limits(memory_mib=4096.0, memory_used_mib=1024.0))
    assert limited.detail == "4.0 GiB (group limit), 3.0 GiB available"
    assert limited.data["available_mib"] == 3072.0
    scarce = system.check_memory(Limits(memory_mib=2048.0, memory_used_mib=1948.0))
    assert scarce.status is Status.WARNING
    assert "cifar10-cnn" in scarce.advice


def test_memory_that_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(system, "memory_mib", lambda: (None, None))
    assert system.check_memory(Limits()).status is Status.WARNING


def test_this_machine_tells_its_memory():
    total, available = system.memory_mib()
    assert total is not None
    assert total > 64
    assert available is None or 0 < available <= total


def test_the_interpreter_is_named_with_its_path():
    check = system.check_python()
    assert check.data["executable"] == sys.executable
    assert sys.executable in check.detail
