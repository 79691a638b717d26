"""The page of commands: every command, argument and option, read from the Typer application."""

import inspect
import re
from collections.abc import Iterable
from typing import Any

import typer

from imgcls.cli.app import load_command
from imgcls.cli.commands import COMMANDS

HEADING = """# Commands

This page is made from the program itself: it is what `imgcls COMMAND --help` says. Options with the same name mean the
same in every command. [Exit codes](exit-codes.md) are described on another page.
"""
OWN_PANEL = "Options"


def commands() -> dict[str, Any]:
    """Every visible command by its name, sorted."""
    return {name: load_command(name) for name in sorted(COMMANDS)}


def commands_page() -> str:
    """The whole page, in Markdown."""
    return "\n".join([HEADING, *(_command_section(name, command) for name, command in commands().items())])


def _command_section(name: str, command: Any) -> str:
    visible = [param for param in command.params if not getattr(param, "hidden", False)]
    arguments = [param for param in visible if param.param_type_name == "argument"]
    options = [param for param in visible if param.param_type_name == "option"]
    usage = " ".join(["imgcls", name, "[OPTIONS]", *(_argument_usage(param) for param in arguments)])
    parts = [f"## {name}", escape(inspect.cleandoc(command.help or "")), f"```text\n{usage}\n```"]
    if examples := _examples(command.epilog or ""):
        parts.append("```sh\n" + "\n".join(examples) + "\n```")
    if arguments:
        parts.append(_table("Argument", [(f"`{_shown_name(param)}`", *_described(param)) for param in arguments]))
    for panel in dict.fromkeys(param.rich_help_panel or OWN_PANEL for param in options):
        rows = [
            (f"`{', '.join([*param.opts, *param.secondary_opts])}`{_value(param, command)}", *_described(param))
            for param in options
            if (param.rich_help_panel or OWN_PANEL) == panel
        ]
        parts.append(f"### {panel} {{ #{name}-{_slug(panel)} }}\n\n" + _table("Option", rows))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text whose characters mean nothing to Markdown, apart from backticks that the text uses itself."""
    text = re.sub(r"\[/?(?:bold|dim|italic|cyan|green|yellow|red)\]", "", text)
    return re.sub(r"(`[^`]*`)|([\\*_<>|])", lambda match: match[1] or f"\\{match[2]}", text)


def _table(first: str, rows: Iterable[tuple[str, str, str]]) -> str:
    lines = [f"| {first} | Meaning | Default |", "| --- | --- | --- |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _described(param: Any) -> tuple[str, str]:
    bounds = [f"at least {param.min:g}"] if param.min is not None else []
    bounds += [f"at most {param.max:g}"] if param.max is not None else []
    text = escape(" ".join((param.help or "").split())) + (f" [{', '.join(bounds)}]" if bounds else "")
    if param.envvar:
        text += f" [environment variable `{param.envvar}`]"
    default = param.default
    shown = not (default is None or default is False or default == () or default == [] or callable(default))
    return text, f"`{getattr(default, 'value', default)}`" if shown and param.show_default else ""


def _value(param: Any, command: Any) -> str:
    if param.is_flag:
        return ""
    shown = param.metavar or str(param.display_type(typer.Context(command)))
    plain = shown.strip("<>").replace("|", ", ").removesuffix(" range").replace("list[str]", "text")
    return f" `{plain}`"


def _shown_name(param: Any) -> str:
    return str(param.metavar or param.name.upper()).strip("[]{}").removesuffix("...")


def _argument_usage(param: Any) -> str:
    name = _shown_name(param) + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _examples(epilog: str) -> list[str]:
    plain = re.sub(r"\[/?\w+\]", "", epilog)
    found = re.findall(r"imgcls .*?(?=(?:\s{2,}|\n|\s+or:|$))", plain.replace("Example:", "\n").replace("or:", "\n"))
    return [line.strip() for line in found]


def _slug(text: str) -> str:
    return re.sub(r"\W+", "-", text.lower()).strip("-")
