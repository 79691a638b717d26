"""imgcls itself, and which of its extras are installed: read from the records of packages, nothing imported."""

import re
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import imgcls
from imgcls._version import __version__
from imgcls.environment.report import Check, Status

# What only those who work on imgcls itself need.
FOR_DEVELOPERS = ("dev", "docs", "test")
REQUIREMENT = re.compile(r"""^([\w.-]+)(?:\[[^\]]*\])?[^;]*;.*\bextra\s*==\s*["']([\w.-]+)["']""")


def check_imgcls() -> Check:
    """Name the version of imgcls that runs, and where it lies, which need not be where it was installed last."""
    path = str(Path(imgcls.__file__).parent)
    return Check("imgcls", Status.OK, f"{__version__}, {path}", data={"version": __version__, "path": path})


def check_extras(requirements: Iterable[str] | None = None) -> Check:
    """Tell which optional parts can be used.

    Args:
        requirements: as the record of the installed package lists them; read from there by default.
    """
    if requirements is None:
        try:
            requirements = metadata.requires("imgcls") or ()
        except metadata.PackageNotFoundError:
            return Check("extras", Status.OK, "unknown: imgcls runs from its sources and is not installed")
    extras: dict[str, dict[str, str | None]] = {}
    for requirement in requirements:
        match = REQUIREMENT.match(requirement)
        if match and match[2] not in FOR_DEVELOPERS and match[1].lower() != "imgcls":
            extras.setdefault(match[2], {})[match[1]] = _version_of(match[1])
    here = [
        f"{extra} ({', '.join(f'{name} {version}' for name, version in packages.items())})"
        for extra, packages in extras.items()
        if all(packages.values())
    ]
    absent = [extra for extra, packages in extras.items() if not any(packages.values())]
    partly = {
        extra: [name for name, version in packages.items() if version is None]
        for extra, packages in extras.items()
        if any(packages.values()) and not all(packages.values())
    }
    parts = [", ".join(here) or "none"]
    parts += [f"{extra} lacks {', '.join(names)}" for extra, names in partly.items()]
    if absent:
        parts.append(f"not installed: {', '.join(absent)}")
    missing = [*partly, *absent]
    advice = f"where you need one: pip install 'imgcls[{missing[0]}]'" if missing else ""
    return Check("extras", Status.OK, "; ".join(parts), advice, {"extras": extras})


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
