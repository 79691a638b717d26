"""The launch line of the guide for several machines, with one agent per machine, here two on one."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from labelled_data import write_classes

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="torch's Windows packages have no gloo that torchrun can use"),
]


def test_two_agents_that_meet_at_an_address_train_together(tmp_path):
    write_classes(tmp_path / "photos" / "train", {"cat": 8, "dog": 8})
    write_classes(tmp_path / "photos" / "val", {"cat": 3, "dog": 3})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # What `srun torchrun ...` starts on each of two machines.
    launch = (
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"),
        *("--rdzv-backend", "c10d", "--rdzv-id", "7", "--rdzv-endpoint", f"127.0.0.1:{port}"),
        *("-m", "imgcls", "train", "--data", "photos", "--device", "cpu", "--epochs", "1", "--batch-size", "8"),
        *("-m", "cnn", "--set", "data.image_px=8", "--set", "model.arguments.widths=[4, 4, 8, 8]", "-o", "run"),
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    agents = [
        subprocess.Popen(
            launch, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    outputs = [agent.communicate(timeout=400) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], outputs
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1
    assert json.loads((tmp_path / "run" / "result.json").read_text())["epochs"] == 1
