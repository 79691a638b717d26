import json
import sys

import finetune
import plain_finetune
import pytest
import torch
from labelled_data import write_cifar10, write_classes
from torchvision import models


def test_photographs_are_written(tmp_path):
    data = write_cifar10(tmp_path / "cifar-10-batches-py", per_file=10, classes=finetune.CLASSES)
    finetune.write_photographs(data.parent, tmp_path / "photos", per_class=1)
    assert {path.name for path in (tmp_path / "photos").iterdir()} == set(finetune.CLASSES)
    assert len(list((tmp_path / "photos").rglob("*.jpg"))) == 5


@pytest.mark.slow
def test_the_plain_script_trains(tmp_path, monkeypatch, capsys):
    photos = write_classes(tmp_path / "photos", {"cat": 5, "dog": 5})
    torch.save(models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    options = ["--data", photos, "--weights", tmp_path / "resnet18.pth", "--epochs", 2, "--head-epochs", 1]
    monkeypatch.setattr(sys, "argv", ["plain_finetune.py", *map(str, options)])
    plain_finetune.main()
    assert 0 <= json.loads(capsys.readouterr().out)["top1"] <= 1
