"""How `imgcls predict --ray` spreads a run; the run itself is in `on_ray.py`."""

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from imgcls.errors import UsageError

if TYPE_CHECKING:
    from imgcls.inference.cluster.run import ClusterSettings

PANEL = "On a cluster"


class ClusterOptions(NamedTuple):
    """What of the command line spreads a run; see each option's help."""

    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            help="Run on a Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT; --output is then a folder.",
            metavar="ADDRESS",
            rich_help_panel=PANEL,
        ),
    ] = None
    actors: Annotated[
        str | None,
        typer.Option(
            "--actors",
            help="Workers: a number, or a range such as 2:16; by default as many as fit.",
            metavar="N",
            rich_help_panel=PANEL,
        ),
    ] = None
    num_cpus: Annotated[
        int | None,
        typer.Option(
            "--num-cpus", min=1, help="Cores of a worker; by default up to 4.", metavar="N", rich_help_panel=PANEL
        ),
    ] = None
    num_gpus: Annotated[
        float | None,
        typer.Option(
            "--num-gpus",
            min=0,
            help="GPUs of a worker, such as 0.5; by default 1 where the cluster has any.",
            metavar="N",
            rich_help_panel=PANEL,
        ),
    ] = None
    part_size: Annotated[
        int,
        typer.Option("--part-size", min=1, help="Images of a part, on average.", rich_help_panel=PANEL),
    ] = 1000

    def settings(self, *, verbose: bool) -> "ClusterSettings":
        """How the run is distributed, in the library's words.

        Raises:
            UsageError: --actors is no number and no range.
        """
        import re

        from imgcls.inference.cluster.run import ClusterSettings

        match = re.fullmatch(r"(\d+)(?::(\d+))?", self.actors or "1")
        least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= least <= most:
            raise UsageError(f"--actors {self.actors!r} is no number and no range", hint="--actors 2:16")
        return ClusterSettings(
            self.ray or "local",
            least,
            most if self.actors else None,
            self.num_cpus,
            self.num_gpus,
            self.part_size,
            verbose,
        )
