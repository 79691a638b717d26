"""What env-check says of imgcls itself and of its extras."""

from importlib import metadata
from pathlib import Path

import imgcls
from imgcls.environment.installation import check_extras, check_imgcls
from imgcls.environment.report import Status


def test_imgcls_is_named_with_its_path():
    check = check_imgcls()
    assert check.data == {"version": imgcls.__version__, "path": str(Path(imgcls.__file__).parent)}
    assert imgcls.__version__ in check.detail


def test_extras_by_hand():
    numpy, pillow = metadata.version("numpy"), metadata.version("pillow")
    check = check_extras(
        [
            "torch>=2",
            'numpy>=1.26; extra == "whole"',
            "pillow[avif]>=11 ; extra == 'whole'",
            'numpy; python_version > "3" and extra == "partly"',
            'no-such-package>=1; extra == "partly"',
            'no-such-package>=1; extra == "absent"',
            'pytest; extra == "dev"',
            'imgcls[whole]; extra == "all"',
        ]
    )
    assert check.status is Status.OK
    assert check.detail == (
        f"whole (numpy {numpy}, pillow {pillow}); partly lacks no-such-package; not installed: absent"
    )
    assert check.advice == "where you need one: pip install 'imgcls[partly]'"
    assert check.data["extras"] == {
        "whole": {"numpy": numpy, "pillow": pillow},
        "partly": {"numpy": numpy, "no-such-package": None},
        "absent": {"no-such-package": None},
    }


def test_no_extras_at_all():
    assert (check_extras([]).detail, check_extras([]).advice) == ("none", "")


def test_the_extras_of_this_installation():
    assert check_extras().data["extras"].keys() >= {"onnx", "plots", "parquet"}
