"""The page of the Python interface: every public name with its signature and its docstring."""

import ast
import importlib
import inspect
import re
import textwrap
from typing import Any

from commands import escape

import imgcls

HEADING = """# Python

This page is made from the docstrings. Everything here is imported from `imgcls` itself; modules below it may change.
Importing `imgcls` is cheap: PyTorch is loaded when a name is first used that needs it.
"""
SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Attributes|Source|Example|Examples):\s*(.*)$")
ENTRY = re.compile(r"^    ([\w*., ]+): (.*)$")


def public_names() -> list[str]:
    """Everything in `imgcls.__all__` that is documented."""
    return [name for name in imgcls.__all__ if name != "__version__"]


def public_item(name: str) -> Any:
    """What a public name means. `imgcls.export` is a room that can be called; its function is meant."""
    item = getattr(imgcls, name)
    return getattr(importlib.import_module(f"imgcls.{name}.run"), name) if inspect.ismodule(item) else item


def python_page() -> str:
    """The whole page, in Markdown."""
    functions, classes, errors = [], [], []
    for name in sorted(public_names(), key=str.lower):
        item = public_item(name)
        if not inspect.isclass(item):
            functions.append(_function(name, item, "###"))
        elif issubclass(item, Exception):
            errors.append(_class(name, item))
        else:
            classes.append(_class(name, item))
    return "\n".join([HEADING, "## Functions\n", *functions, "## Classes\n", *classes, "## Errors\n", *errors])


def _function(name: str, function: Any, level: str) -> str:
    tree = _parsed(function)
    signature = ""
    if isinstance(tree, ast.FunctionDef):
        signature = _signature(tree.name, tree)
    return f"{level} {name} {{ #{name.replace('.', '-')} }}\n\n{signature}{_docstring(function)}\n"


def _class(name: str, item: type) -> str:
    parts = [f"### {name} {{ #{name} }}\n"]
    tree = _parsed(item)
    methods = {node.name: node for node in getattr(tree, "body", []) if isinstance(node, ast.FunctionDef)}
    if "__init__" in methods:
        parts.append(_signature(name, methods["__init__"]))
    parts.append(_docstring(item) + "\n")
    for method_name, node in methods.items():
        if method_name.startswith("_"):
            continue
        is_property = any(ast.unparse(decorator).endswith("property") for decorator in node.decorator_list)
        label = f"`{name}.{method_name}`"
        parts.append(f"#### {label} {{ #{name}-{method_name} }}\n")
        if is_property:
            kind = f"Property, `{_type(node.returns)}`. " if node.returns else "Property. "
            parts.append(kind + _format(ast.get_docstring(node) or "") + "\n")
        else:
            parts.append(_signature(method_name, node) + _format(ast.get_docstring(node) or "") + "\n")
    return "\n".join(parts)


def _parsed(item: Any) -> ast.stmt | None:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(item)))).body[0]
    except (OSError, TypeError):
        return None


def _signature(name: str, node: ast.FunctionDef) -> str:
    """A code block with one parameter per line where they don't fit on one."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    parts = [_parameter(arg, value) for arg, value in zip(positional, defaults, strict=True)]
    if arguments.vararg:
        parts.append("*" + _parameter(arguments.vararg, None))
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [_parameter(arg, value) for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    parts = [part for part in parts if part not in ("self", "cls")]
    returns = f" -> {_type(node.returns)}" if node.returns and node.name != "__init__" else ""
    line = f"{name}({', '.join(parts)}){returns}"
    if len(line) > 88:
        line = (
            f"{name}(\n" + "".join(f"    {part},\n" for part in parts).replace("    *,\n", "    *,\n") + f"){returns}"
        )
    return f"```python\n{line}\n```\n\n"


def _parameter(arg: ast.arg, default: ast.expr | None) -> str:
    text = arg.arg + (f": {_type(arg.annotation)}" if arg.annotation else "")
    return text + (f" = {ast.unparse(default)}" if default else "")


def _type(annotation: ast.expr) -> str:
    """A type as it is read; a quoted one is for the type checker alone."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value
    return ast.unparse(annotation)


def _docstring(item: Any) -> str:
    return _format(inspect.getdoc(item) or "")


def _format(docstring: str) -> str:
    """Google's sections as Markdown lists."""
    lines: list[str] = []
    section = ""
    for line in inspect.cleandoc(docstring).splitlines():
        if match := SECTION.match(line):
            section = match[1]
            lines += ["", f"**{section}**" + (f": {escape(match[2])}" if match[2] else ""), ""]
        elif section and (entry := ENTRY.match(line)):
            lines.append(f"- `{entry[1]}`: {escape(entry[2])}")
        elif section:
            text = escape(line.strip())
            lines.append(f"  {text}" if lines and lines[-1].startswith(("- ", "  ")) else text)
        else:
            lines.append(escape(line))
    return "\n".join(lines) + "\n"
