"""The versions that every result names, so that a figure can be traced."""

import platform
from importlib import metadata

from imgcls._version import __version__

PACKAGES = ("torch", "torchvision", "pillow", "numpy")


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of imgcls, Python and the packages that shape an answer; read without importing them."""
    found = {"imgcls": __version__, "python": platform.python_version()}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
