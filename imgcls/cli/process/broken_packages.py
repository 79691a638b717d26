"""A package that can't be imported is no defect of imgcls: one line, and the command that says what is wrong."""

import contextlib
from collections.abc import Iterator
from types import ModuleType, TracebackType

from imgcls.errors import DeviceError, ImgclsError

OURS = "imgcls"
# Without these nothing works, so that a name that they lack is their fault, not ours.
CORE = ("torch", "torchvision", "numpy", "PIL", "pydantic")


@contextlib.contextmanager
def typed_import_failures() -> Iterator[None]:
    """Turn whatever another package raises while it is imported into an error of the environment.

    Raises:
        DeviceError: a package is missing, damaged, or not made for the others.
    """
    try:
        yield
    except ImgclsError:
        raise
    except Exception as exc:
        package = _broken_package(exc)
        if package is None:
            raise
        reason = (str(exc).strip().splitlines() or [""])[0]
        raise DeviceError(
            f"{package} can't be imported: {type(exc).__name__}: {reason}",
            hint="imgcls env-check says what is wrong and what mends it",
        ) from exc


def _broken_package(exc: BaseException | None) -> str | None:
    """The package whose import failed; None where an exception has another cause."""
    while exc is not None:
        name = exc.name.partition(".")[0] if isinstance(exc, ImportError) and exc.name else ""
        if name in CORE or (name and isinstance(exc, ModuleNotFoundError) and name != OURS):
            return name
        # A package of that name that is none: a folder in the way, or what a cut installation left.
        if isinstance(exc, AttributeError) and (name := _module_without(exc)) in CORE:
            return name
        for module in _imported_modules(exc.__traceback__):
            if module != OURS:
                return module
        exc = exc.__cause__
    return None


def _imported_modules(traceback: TracebackType | None) -> Iterator[str]:
    """The packages that were being imported where an exception came from, the outermost first."""
    while traceback is not None:
        frame = traceback.tb_frame
        # A module's own code, not a function that it defines; and not the script that was started.
        if frame.f_code.co_name == "<module>":
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if package not in ("", "__main__") and frame.f_globals.get("__spec__") is not None:
                yield package
        traceback = traceback.tb_next


def _module_without(exc: AttributeError) -> str:
    if isinstance(exc.obj, ModuleType) and not hasattr(exc.obj, "__version__"):
        return exc.obj.__name__
    return ""
