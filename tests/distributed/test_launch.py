import os
import socket

import pytest

from imgcls.distributed.launch import read_launch

# As torchrun sets them for the second of two processes.
SECOND = {
    "RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_RESTART_COUNT": "1",
    "TORCHELASTIC_MAX_RESTARTS": "3",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
}


def test_torchruns_variables_are_read():
    launch = read_launch(SECOND)
    assert launch is not None
    assert (launch.rank, launch.count, launch.local_rank, launch.local_count) == (1, 2, 1, 2)
    assert (launch.restarts, launch.max_restarts, launch.by_torchrun) == (1, 3, True)


def test_a_launch_has_a_name_of_its_own():
    unnamed, named = read_launch(SECOND), read_launch({**SECOND, "TORCHELASTIC_RUN_ID": "job-7"})
    assert unnamed is not None
    assert unnamed.name == f"{socket.gethostname()}-{os.getppid()}"
    assert named is not None
    assert named.name == "job-7"


@pytest.mark.parametrize("missing", ["RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"])
def test_a_clusters_own_variables_launch_nothing(missing):
    assert read_launch({name: value for name, value in SECOND.items() if name != missing}) is None


@pytest.mark.parametrize("change", [{"RANK": "first"}, {"RANK": "2"}, {"RANK": "-1"}, {"MASTER_ADDR": ""}])
def test_variables_that_make_no_sense_launch_nothing(change):
    assert read_launch({**SECOND, **change}) is None
