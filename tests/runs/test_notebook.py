"""A run in a notebook: what is displayed, and that nothing is displayed or printed elsewhere."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from run_events import epoch_end, progress, started
from tiny_runs import recipe_for

from imgcls import train
from imgcls.runs.events import FeatureProgress, Measuring
from imgcls.runs.notebook import NotebookProgress, notebook_progress


class Displays:
    """As `IPython.display.display`: keeps what is shown, and every later version of it."""

    def __init__(self) -> None:
        self.versions: list[str] = []
        self.num_displays = 0

    def __call__(self, shown: Any, *, display_id: bool) -> "Displays":
        assert display_id
        self.num_displays += 1
        self.update(shown)
        return self

    def update(self, shown: Any) -> None:
        self.versions.append(shown._repr_html_())


def install_ipython(monkeypatch: pytest.MonkeyPatch, shell: Any) -> Displays:
    """As in a program that IPython runs."""
    displays = Displays()
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    display.display = displays  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return displays


NOTEBOOK = types.SimpleNamespace(kernel=object())


def test_each_epoch_is_a_row_in_one_display() -> None:
    displays = Displays()
    show = NotebookProgress(displays, pace_sec=0)
    events = [started(epochs=2), progress(1, 5), epoch_end(1), progress(2, 10), epoch_end(2)]
    for event in events:
        show(event)
    assert (displays.num_displays, len(displays.versions)) == (1, len(events))
    assert "width:50.0%" in displays.versions[1]
    assert "epoch 1, 500 images/s, loss 2.0000" in displays.versions[1]
    last = displays.versions[-1]
    assert "<td>1</td><td>2.0000</td><td>2.5000</td><td>50.00%</td><td>2.0</td><td>500</td>" in last
    assert "<td>2</td><td>1.0000</td><td>1.2500</td><td>66.67%</td>" in last
    assert "small" not in last
    assert "66.67%" in repr(show)


def test_other_stages_are_said_and_names_are_text() -> None:
    displays = Displays()
    show = NotebookProgress(displays, pace_sec=0)
    show(started(model="<b>x</b>", warnings=("few <images>",)))
    show(FeatureProgress(25, 100))
    assert "features of 100 images" in displays.versions[-1]
    show(Measuring("val", 75, 100))
    assert "width:75.0%" in displays.versions[-1]
    assert "measuring val" in displays.versions[-1]
    show(epoch_end(1, split=None, loss=None, top1=None, top5=None))
    assert "<td>1</td><td>2.0000</td><td></td><td></td>" in displays.versions[-1]
    assert "&lt;b&gt;x&lt;/b&gt;" in displays.versions[-1]
    assert "few &lt;images&gt;" in displays.versions[-1]


def test_the_bar_moves_at_a_pace_and_epochs_are_always_shown() -> None:
    displays = Displays()
    show = NotebookProgress(displays, pace_sec=3600)
    for event in (started(epochs=1), *(progress(1, step) for step in range(10)), epoch_end(1)):
        show(event)
    assert len(displays.versions) == 2


@pytest.mark.parametrize("shell", [None, types.SimpleNamespace()], ids=["a library", "a terminal"])
def test_elsewhere_nothing_is_shown(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install_ipython(monkeypatch, shell)
    assert notebook_progress() is None
    monkeypatch.delitem(sys.modules, "IPython")
    assert notebook_progress() is None


def test_train_shows_its_progress_in_a_notebook(
    monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    displays = install_ipython(monkeypatch, NOTEBOOK)
    result = train(recipe_for(photos), output=tmp_path / "run")
    assert displays.num_displays == 1
    assert result.last is not None
    assert result.last.top1 is not None
    assert displays.versions[-1].count("<tr>") == 1 + result.epochs
    assert f"{result.last.top1:.2%}" in displays.versions[-1]
    # Who listens sees the events instead.
    seen: list[Any] = []
    train(recipe_for(photos), output=tmp_path / "other", on_event=seen.append)
    assert seen
    assert displays.num_displays == 1
    assert capfd.readouterr() == ("", "")
