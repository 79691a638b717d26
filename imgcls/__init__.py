"""imgcls: classify images from Python or from the command line."""

from imgcls._version import __version__

__all__ = ["__version__"]
