"""One style for what Typer prints and what imgcls prints: help that people read, and errors in our two lines."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from imgcls.cli import console
from imgcls.errors import ExitCode, ImgclsError, UsageError

# What a value is called in help, by Python's name for its type; nothing for flags, which take none.
VALUE_NAMES = {"bool": "", "int": "N", "float": "X", "str": "TEXT", "Path": "PATH"}
# Options of other tools, and what they are here.
ELSEWHERE = {
    "--img-size": "--set data.image_px=224",
    "--image-size": "--set data.image_px=224",
    "--imgsz": "--set data.image_px=224",
    "--size": "--set data.image_px=224",
    "--learning-rate": "--lr 0.001",
    "--optimizer": "--set optim.name=sgd",
    "--opt": "--set optim.name=sgd",
    "--weight-decay": "--set optim.weight_decay=0.05",
    "--batch": "--batch-size 32",
    "--output-dir": "--output DIR",
    "--topk": "--top-k 5",
    "--gpu": "--device cuda",
}
# Of pydantic, which reads the values for Typer, and of Typer itself: what is said instead.
WORDS = (
    (r"\.? Did you mean ", "; did you mean "),
    (r" \(Possible options: (.*)\)", r"; did you mean \1?"),
    (r"Value error, ", ""),
    (r"Input should be a valid integer.*", "must be an integer"),
    (r"Input should be a valid number.*", "must be a number"),
    (r"Input should be greater than or equal to ", "must be at least "),
    (r"Input should be less than or equal to ", "must be at most "),
    (r"Input should be ", "must be "),
)


class Told:
    """Beside a command or a group of Typer's: its help names values, not Python's types."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _name_values(self.params)  # type: ignore[attr-defined]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """As Typer's; a full disk or a closed pipe under it is told as under any other answer."""
        with console.whole_answer():
            super().format_help(ctx, formatter)  # type: ignore[misc]


class Command(Told, TyperCommand):
    """A command whose help names values, not Python's types, and says bounds in words."""

    def get_help_option(self, ctx: Any) -> Any:
        """As Typer's, without a type."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.metavar = ""
        return option


class Group(Told, TyperGroup):
    """The same for all commands; wrong usage is told as every other error is."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As Typer's, which adds options for completion late."""
        params = super().get_params(ctx)
        _name_values(params)
        return params

    def main(self, args: Sequence[str] | None = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command; see Typer."""
        extra["standalone_mode"] = False
        if not standalone_mode:
            return super().main(args, *rest, **extra)
        try:
            code = super().main(args, *rest, **extra)
        except typer.Abort:
            raise SystemExit(ExitCode.INTERRUPTED) from None
        except ImgclsError as exc:
            # A command tells its own errors; this is one of help or version.
            console.error(exc)
            console.drop_stdout()
            raise SystemExit(exc.exit_code) from None
        except Exception as exc:
            error = usage_error(exc)
            if error is None:
                raise
            if error.message:
                console.error(error)
            raise SystemExit(error.exit_code) from None
        raise SystemExit(code if isinstance(code, int) else ExitCode.OK)


def usage_error(exc: Exception) -> ImgclsError | None:
    """What Typer says of wrong usage as an error of ours; None for any other exception.

    Its message is empty where the help has been printed instead.
    """
    say: Callable[[], str] | None = getattr(exc, "format_message", None)
    context: typer.Context | None = getattr(exc, "ctx", None)
    if say is None:
        return None
    if type(exc).__name__ == "NoArgsIsHelpError":
        return UsageError("")
    said = " ".join(say().split()).rstrip(".")
    # Typer's sentences begin with a capital and end with their suggestion, in one line with ours.
    message = said[:1].lower() + said[1:]
    for theirs, ours in WORDS:
        message = re.sub(theirs, ours, message)
    command = context.command_path if context is not None else "imgcls"
    command = command.replace("python -m imgcls", "imgcls")
    option = str(getattr(exc, "option_name", None))
    here = ELSEWHERE.get(option, "")
    known = [name for param in context.command.params for name in param.opts] if context is not None else []
    if here.split(" ")[0] in known:
        return UsageError(f"no such option: {option}", hint=f"here it is {ELSEWHERE[option]}")
    return UsageError(message, hint=f"{command} --help shows what there is")


def _name_values(params: list[Any]) -> None:
    for param in params:
        kind = _type_name(param)
        if param.param_type_name == "argument":
            # Its name says what it is, and Typer adds dots of its own.
            param.metavar = (param.metavar or param.name.upper()).strip("[].")
            param.display_type_rich = _no_type
        elif param.metavar is None and kind is not None:
            param.metavar = VALUE_NAMES[kind]
        least, most = getattr(param, "min", None), getattr(param, "max", None)
        if least is not None or most is not None:
            # For display alone: what is checked was settled before.
            param.min = param.max = None
            param.help = f"{(param.help or '').rstrip('.')} ({_bounds(least, most)})."


def _no_type(ctx: typer.Context) -> str:
    return ""


def _type_name(param: Any) -> str | None:
    if getattr(param, "is_flag", False):
        return "bool"
    annotation = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    name = getattr(annotation, "__name__", None)
    return name if name in VALUE_NAMES else None


def _bounds(least: float | None, most: float | None) -> str:
    if most is None:
        return f"{least:g} or more"
    return f"{most:g} or less" if least is None else f"{least:g} to {most:g}"
