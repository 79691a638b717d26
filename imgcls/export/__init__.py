"""A model as a file that other tools run. The room itself is callable: `imgcls.export(model, output)`."""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """Python binds `imgcls.export` to this package as soon as any of its files is imported, so it is the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """See `imgcls.export.run.export`."""
        from imgcls.export.run import export

        return export(*arguments, **options)


sys.modules[__name__].__class__ = _Room
