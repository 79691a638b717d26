import pytest
from unprivileged import is_privileged


@pytest.mark.unprivileged
def test_permissions_bind_a_marked_test_whoever_runs_it(tmp_path):
    assert not is_privileged()
    locked = tmp_path / "locked"
    locked.write_text("")
    locked.chmod(0)
    with pytest.raises(PermissionError):
        locked.read_text()
