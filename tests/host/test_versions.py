"""The versions that results name."""

import numpy
import PIL
import torch

from imgcls import __version__
from imgcls.host.versions import versions


def test_they_are_the_imported_ones():
    found = versions()
    assert found["imgcls"] == __version__
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["pillow"] == PIL.__version__
    assert found["numpy"] == numpy.__version__


def test_a_missing_package_is_left_out():
    assert "no-such-package" not in versions(("torch", "no-such-package"))
