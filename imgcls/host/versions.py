"""The versions that every result names, so that a figure can be traced."""

import functools
import platform
import re
from importlib import metadata

from imgcls._version import __version__

PACKAGES = ("torch", "torchvision", "pillow", "numpy")


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of imgcls, Python and the packages that shape an answer; read without importing them."""
    found = {"imgcls": __version__, "python": platform.python_version()}
    return found | {name: version for name in packages if (version := _version_of(name)) is not None}


@functools.cache
def _version_of(package: str) -> str | None:
    # Every checkpoint asks. `metadata.version` would parse a whole licence as an e-mail, some milliseconds a package.
    try:
        text = metadata.distribution(package).read_text("METADATA") or ""
    except metadata.PackageNotFoundError:
        return None
    found = re.search(r"^Version: *(\S+)", text, re.MULTILINE)
    return found[1] if found else metadata.version(package)
