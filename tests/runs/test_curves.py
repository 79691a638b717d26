import importlib.util
import sys

import numpy as np
import pytest
from PIL import Image
from run_events import epoch_end

from imgcls.errors import OutputError, UsageError
from imgcls.runs.curves import COLOURS, build_figure, draw_curves, draw_run
from imgcls.runs.folder import RunFolder


def metrics(count, **changes):
    return [epoch_end(epoch, **changes).to_dict() for epoch in range(1, count + 1)]


UNVALIDATED = {"split": None, "loss": None, "top1": None, "top5": None}


def test_one_run():
    loss, rate, top1 = build_figure({"cnn": metrics(5)}).axes
    training, validation = loss.lines
    assert list(training.get_xdata()) == [1, 2, 3, 4, 5]
    assert list(training.get_ydata()) == pytest.approx([2, 1, 2 / 3, 0.5, 0.4])
    assert list(validation.get_ydata()) == pytest.approx([2.5, 1.25, 2.5 / 3, 0.625, 0.5])
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["training", "validation"]
    assert training.get_color() != validation.get_color()
    assert list(rate.lines[0].get_ydata()) == [0.1] * 5
    curve, star = top1.lines
    assert list(curve.get_ydata()) == pytest.approx([1 / 2, 2 / 3, 3 / 4, 4 / 5, 5 / 6])
    assert (list(star.get_xdata()), star.get_marker()) == ([5], "*")
    assert top1.get_title() == "top-1, kept: 83.33% (epoch 5)"
    assert [axes.get_xlabel() for axes in (loss, rate, top1)] == ["epoch"] * 3
    labels = [axes.get_ylabel() for axes in (loss, rate, top1)]
    assert labels == ["cross-entropy loss", "learning rate", "images classified correctly"]


def test_training_accuracy_beside_that_of_validation():
    lines = metrics(3)
    for line, value in zip(lines, (0.25, 0.5, 0.75), strict=True):
        line["train_top1"] = value
    training, validation, _star = build_figure({"cnn": lines}).axes[2].lines
    assert list(training.get_ydata()) == [0.25, 0.5, 0.75]
    assert list(validation.get_ydata()) == pytest.approx([1 / 2, 2 / 3, 3 / 4])
    # Runs of earlier versions have none.
    del lines[0]["train_top1"], lines[1]["train_top1"], lines[2]["train_top1"]
    assert len(build_figure({"cnn": lines}).axes[2].lines) == 2


@pytest.mark.parametrize("name", ["cnn", "a-recipe-with-a-long-name-" * 9])
@pytest.mark.parametrize("num_runs", [1, 3])
def test_no_word_is_cut_off(name, num_runs):
    figure = build_figure({f"{name}{number}"[-250:]: metrics(120, split="test") for number in range(num_runs)})
    figure.draw_without_rendering()
    whole = figure.get_window_extent()
    texts = [
        *figure.texts,
        *(text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)),
    ]
    for text in texts:
        box = text.get_window_extent()
        assert whole.x0 <= box.x0 <= box.x1 <= whole.x1, text.get_text()
        assert whole.y0 <= box.y0 <= box.y1 <= whole.y1, text.get_text()


def test_where_test_images_stand_in_nothing_is_chosen_by_them():
    lines = metrics(3, split="test")
    lines[0]["top1"] = 0.9
    assert build_figure({"cnn": lines}).axes[2].get_title() == "top-1, kept: 75.00% (epoch 3)"


def test_of_equal_accuracies_the_lower_loss_was_kept():
    lines = metrics(3, top1=0.5)
    assert build_figure({"cnn": lines}).axes[2].get_title() == "top-1, kept: 50.00% (epoch 3)"


def test_several_runs_have_their_own_looks():
    loss, _rate, top1 = build_figure({f"run {number}": metrics(number + 1) for number in range(9)}).axes
    looks = [(line.get_color(), line.get_linestyle()) for line in top1.lines[::2]]
    assert len(set(looks)) == 9
    assert [colour for colour, _style in looks[:7]] == list(COLOURS)
    assert [text.get_text() for text in loss.get_legend().get_texts()] == [f"run {number}" for number in range(9)]


def test_without_validation_there_is_no_accuracy():
    figure = build_figure({"cnn": metrics(3, **UNVALIDATED)})
    assert len(figure.axes) == 2
    assert "top-1" not in "".join(axes.get_title() for axes in figure.axes)
    assert len(build_figure({"a": metrics(3, **UNVALIDATED), "b": metrics(1, **UNVALIDATED)}).axes) == 2


def test_a_loss_that_falls_far_gets_a_logarithmic_scale():
    lines = metrics(3)
    assert build_figure({"cnn": lines}).axes[0].get_yscale() == "linear"
    lines[0]["train_loss"] = 4000.0
    assert build_figure({"cnn": lines}).axes[0].get_yscale() == "log"


def test_an_image_in_the_runs_folder(tmp_path):
    with RunFolder.create(tmp_path / "猫", name="cnn") as folder:
        assert draw_run(folder.path) is None
        folder.append_metrics(epoch_end(1).to_dict())
        pyplot_was_there = "matplotlib.pyplot" in sys.modules
        path = draw_run(folder.path)
    assert path == tmp_path / "猫" / "curves.png"
    pixels = np.asarray(Image.open(path).convert("RGB"))
    assert pixels.shape == (780, 1200, 3)
    # White paper with something on it, in the two colours.
    assert (pixels == 255).mean() > 0.7
    for colour in COLOURS[:2]:
        assert (pixels == [int(colour[i : i + 2], 16) for i in (1, 3, 5)]).all(2).any()
    # The state of pyplot is whoever else's who draws in this process.
    assert ("matplotlib.pyplot" in sys.modules) is pyplot_was_there


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")])
def test_formats(tmp_path, suffix, start):
    path = tmp_path / f"curves{suffix}"
    draw_curves({"cnn": metrics(2)}, path)
    assert path.read_bytes().startswith(start)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_what_cant_be_drawn(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"must end in \.png, \.svg, \.pdf"):
        draw_curves({"cnn": metrics(1)}, tmp_path / "curves.gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        draw_curves({"cnn": metrics(1)}, tmp_path / "file" / "curves.png")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else find(name))
    with pytest.raises(UsageError) as caught:
        draw_curves({"cnn": metrics(1)}, tmp_path / "curves.png")
    assert caught.value.hint == "pip install 'imgcls[plots]'"
