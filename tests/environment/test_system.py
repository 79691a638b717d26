import sys

from imgcls.environment import system
from imgcls.environment.report import Status
from imgcls.host.resources import Cores, Memory

MIB = 2**20


def test_cores_are_shown_with_what_limits_them():
    free = system.check_cores(Cores(usable=8, total=8, affinity=8, group_limit=None))
    assert free.detail.startswith("8 of 8 usable")
    assert "limit" not in free.detail
    limited = system.check_cores(Cores(usable=1, total=8, affinity=4, group_limit=0.5))
    assert limited.detail.startswith("1 of 8 usable, affinity 4, group limit 0.5")
    assert {key: limited.data[key] for key in ("usable", "total", "affinity", "group_limit")} == {
        "usable": 1,
        "total": 8,
        "affinity": 4,
        "group_limit": 0.5,
    }


def test_memory_is_shown_with_what_limits_it():
    assert system.check_memory(Memory(8192 * MIB, 6144 * MIB, None)).detail == "8.0 GiB, 6.0 GiB available"
    limited = system.check_memory(Memory(4096 * MIB, 3072 * MIB, 4096 * MIB))
    assert limited.detail == "4.0 GiB (group limit), 3.0 GiB available"
    assert (limited.data["available_mib"], limited.data["group_limit_mib"]) == (3072.0, 4096.0)
    scarce = system.check_memory(Memory(2048 * MIB, 100 * MIB, 2048 * MIB))
    assert scarce.status is Status.WARNING
    assert "cifar10-cnn" in scarce.advice


def test_memory_that_the_system_does_not_tell():
    assert system.check_memory(Memory(None, None, None)).status is Status.WARNING
    assert system.check_memory(Memory(8192 * MIB, None, None)).detail == "8.0 GiB"


def test_this_machine_is_read():
    assert system.check_cores().data["usable"] >= 1
    assert system.check_memory().data["total_mib"] > 64


def test_the_interpreter_is_named_with_its_path():
    check = system.check_python()
    assert check.data["executable"] == sys.executable
    assert sys.executable in check.detail
