"""The one place that states the version (read by the build, `imgcls --version` and every written file)."""

__version__ = "0.1.0"
