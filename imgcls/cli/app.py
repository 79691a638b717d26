"""The `imgcls` command: its subcommands, and the one place where an error becomes an exit code."""

import functools
import importlib
import os
import signal
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any, ParamSpec

import typer

from imgcls._version import __version__
from imgcls.cli import console
from imgcls.cli.commands import COMMANDS
from imgcls.cli.help import style
from imgcls.cli.process import interrupts, startup
from imgcls.cli.process.broken_packages import typed_import_failures
from imgcls.cli.process.unusable_paths import typed_path_failures
from imgcls.distributed.launch import Launch, read_launch
from imgcls.errors import ExitCode, ImgclsError, OutputError, UsageError
from imgcls.host.resources import obey_core_limit, prefer_large_pages

P = ParamSpec("P")


class Terminated(BaseException):
    """SIGTERM, raised where the program stands so that files are closed on the way out."""


def guarded(command: Callable[P, None], *, name: str = "", together: bool = True) -> Callable[P, None]:
    """Run a command function and turn whatever it raises into a message on stderr and an exit code.

    Args:
        command: the function behind a command.
        name: of the command.
        together: whether several processes that torchrun started can share its work.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        startup.collect_again()
        _catch_sigterm()
        launch = read_launch()
        console.silent = launch is not None and launch.rank > 0
        try:
            if launch is not None and launch.count > 1 and not together:
                _refuse_several(name, launch)
            try:
                with typed_import_failures(), typed_path_failures(kwargs):
                    command(*args, **kwargs)
            except typer.Exit:
                # Whatever the code is, that the answer didn't arrive is worse.
                console.flush()
                raise
            console.flush()
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            console.drop_stdout()
            raise typer.Exit(ExitCode.INTERRUPTED) from None
        except Terminated:
            # Whoever wants out at once doesn't wait for the reader of a pipe.
            console.drop_stdout()
            raise typer.Exit(ExitCode.TERMINATED) from None
        except BrokenPipeError:
            # The reader has gone (`| head`): nothing to say, and the interpreter's own last flush must not fail either.
            console.drop_stdout()
            raise typer.Exit(ExitCode.CLOSED_PIPE) from None
        except ImgclsError as exc:
            if os.environ.get("IMGCLS_DEBUG"):
                traceback.print_exc()
            if _may_speak(launch):
                console.error(exc)
            try:
                console.flush()
            except (OutputError, OSError):
                console.drop_stdout()
            raise typer.Exit(exc.exit_code) from None
        except Exception:
            _may_speak(launch)
            traceback.print_exc()
            console.warn("this is a defect of imgcls; please report it with the lines above")
            raise typer.Exit(ExitCode.DEFECT) from None

    return run


def _refuse_several(name: str, launch: Launch) -> None:
    share = f"{launch.rank + 1}/{launch.count}"
    raise UsageError(
        f"imgcls {name} runs in one process, but torchrun started {launch.count}",
        hint=f"start it without torchrun; --shard {share}, ... gives each process its part of the inputs"
        if name == "predict"
        else "start it without torchrun",
    )


def _may_speak(launch: Launch | None) -> bool:
    """Whether an error is this process's to tell: of several, the one that comes first caused the others'."""
    if launch is None or launch.count == 1:
        return True
    interrupts.leaving = True
    from imgcls.distributed.process_group import may_speak

    return may_speak(launch)


def _catch_sigterm() -> None:
    def terminate(_signum: int, _frame: FrameType | None) -> None:
        if not interrupts.leaving:
            raise Terminated

    try:
        signal.signal(signal.SIGTERM, terminate)
    except ValueError:
        # Not in the main thread, as when a test runs the command in one: signals stay whoever's they are.
        return


def _print_version(value: bool) -> None:
    if value:
        with console.whole_answer():
            console.data(f"imgcls {__version__}")
        raise typer.Exit


def load_command(name: str) -> Any:
    """A command, of those in `COMMANDS`, as Typer runs it: its module is imported now."""
    entry = COMMANDS[name]
    module = importlib.import_module(entry.module)
    single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    single.command(name, cls=style.Command, epilog=module.EXAMPLE)(
        guarded(getattr(module, entry.function), name=name, together=entry.together)
    )
    return typer.main.get_command(single)


class Commands(style.Group):
    """All commands; the module of one is imported once it is asked for by name, and none for the list of them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands.update({name: style.Command(name, help=entry.summary) for name, entry in COMMANDS.items()})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As Typer's, with the real command in its place."""
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load_command(args[0])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="imgcls",
    cls=Commands,
    help="Classify images from the command line: check the machine, train, evaluate, predict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Classify images from the command line: check the machine, train, evaluate, predict."""


def main() -> None:
    """Run the command that `sys.argv` names, and end the process."""
    obey_core_limit()
    prefer_large_pages()
    try:
        app()
    except SystemExit as exc:
        if isinstance(exc.code, int):
            # Who wants out doesn't wait for a batch that nobody will ask about.
            hasty = (ExitCode.INTERRUPTED, ExitCode.TERMINATED, ExitCode.CLOSED_PIPE)
            startup.leave(exc.code, waits=exc.code not in hasty)
        raise
