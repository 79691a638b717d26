from imgcls.distributed import control
from imgcls.distributed.control import Control, Decision
from imgcls.distributed.process_group import Processes


def test_one_process_decides_at_once():
    alone = Control(Processes(), save_sec=0)
    assert alone.after_step(lambda: None, report=False) == Decision(report=False, save=False, stop=False)
    assert alone.after_step(lambda: "SIGINT", report=True) == Decision(report=True, save=False, stop=True)
    # The reason stays until it was asked for, whatever is answered meanwhile.
    assert alone.reason(lambda: None) == "SIGINT"
    assert alone.reason(lambda: None) is None
    assert alone.reason(lambda: "max-time") == "max-time"


def test_the_state_is_saved_again_after_so_much_time(monkeypatch):
    now = 100.0
    monkeypatch.setattr(control.time, "monotonic", lambda: now)
    every_minute, never = Control(Processes(), save_sec=60), Control(Processes(), save_sec=0)
    saves = []
    for now in (130.0, 159.9, 160.0, 170.0):  # noqa: B007 - read by the clock above
        saves.append(every_minute.after_step(lambda: None, report=False).save)
        assert not never.after_step(lambda: None, report=False).save
    assert saves == [False, False, True, True]
    every_minute.saved()
    assert not every_minute.after_step(lambda: None, report=False).save
    now = 230.0
    assert every_minute.after_step(lambda: None, report=False).save
