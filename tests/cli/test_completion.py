"""What the shell completes, asked as a shell asks it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imgcls.cli.help.completion import complete_device, complete_model, complete_setting
from imgcls.models.registry import model_names


def test_names_of_models():
    # Before torchvision was ever asked, only the default of its names is known.
    assert complete_model("al") == ["alexnet"]
    assert complete_model("eff") == ["efficientnet-lite0"]
    model_names()
    assert complete_model("resnet") == ["resnet101", "resnet152", "resnet18", "resnet34", "resnet50"]


def test_devices_and_settings():
    assert complete_device("cu") == ["cuda", "cuda:0", "cuda:1"]
    assert "train.epochs=" in complete_setting("train.e")
    assert complete_setting("nothing") == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("imgcls predict -m eff", "efficientnet-lite0"),
        ("imgcls train --set optim.l", "optim.lr="),
        ("imgcls train --device m", "mps"),
        ("imgcls eval al", "alexnet"),
    ],
)
def test_as_bash_asks(words, expected):
    script = (
        "import sys\nfrom imgcls.cli.app import app\ntry:\n    app(prog_name='imgcls')\n"
        "finally:\n    print('torch' in sys.modules, file=sys.stderr)\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "_IMGCLS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert expected in found.stdout.split(), found.stderr
    assert found.stderr.split()[-1] == "False"
