"""The commands and their modules, as plain values: the list of them is shown without importing any."""

from typing import NamedTuple


class CommandEntry(NamedTuple):
    """A command.

    Attributes:
        module: where it is.
        function: its name there; `EXAMPLE` beside it stands below its help.
        summary: the first paragraph of its docstring, which a test compares.
        together: whether several processes that torchrun started can share its work.
    """

    module: str
    function: str
    summary: str
    together: bool = False


COMMANDS = {
    "env-check": CommandEntry(
        "imgcls.cli.env_check",
        "env_check",
        "Check this machine: what is installed, whether it works, what to do where it doesn't.",
    ),
    "train": CommandEntry(
        "imgcls.cli.train.command",
        "train",
        "Train a network on CIFAR-10 or on your own images. Ctrl-C saves; --resume continues.",
        together=True,
    ),
    "tune": CommandEntry(
        "imgcls.cli.tune.command",
        "tune",
        "Search for the recipe with the best validation accuracy, and write it as a TOML file for train. Ctrl-C saves.",
    ),
    "compare": CommandEntry(
        "imgcls.cli.compare.command",
        "compare",
        "Show training runs beside each other, the best first; or, with --data, two models on the same images.",
    ),
    "eval": CommandEntry(
        "imgcls.cli.evaluate.command",
        "evaluate",
        "Measure a model on labelled images: accuracy, precision, recall, calibration, each with its 95 % interval.",
        together=True,
    ),
    "calibrate": CommandEntry(
        "imgcls.cli.calibrate",
        "calibrate",
        "Make a model's probabilities mean something: fit a temperature on held-out images, write a calibrated copy.",
    ),
    "check": CommandEntry(
        "imgcls.cli.check.command",
        "check",
        "Find what is wrong with a data set: damaged and odd images, copies, leaks between splits, wrong labels.",
    ),
    "predict": CommandEntry(
        "imgcls.cli.predict.command",
        "predict",
        "Name the most probable classes of any image: one record per input, also for those that can't be read.",
    ),
    "serve": CommandEntry(
        "imgcls.cli.serve.command",
        "serve",
        "Answer images over HTTP with one model or several, in batches that form by themselves; with a page for "
        "people.",
    ),
    "collect": CommandEntry(
        "imgcls.cli.collect",
        "collect",
        "Join the parts of a finished predict --ray run into one file, in the order of the inputs.",
    ),
    "export": CommandEntry(
        "imgcls.cli.export",
        "export",
        "Write a model in another format, load the file again, and compare its answers on images.",
    ),
    "models": CommandEntry(
        "imgcls.cli.models",
        "models",
        "List what --model accepts beside paths: parameters, size, published accuracy, whether the weights are here.",
    ),
    "recipes": CommandEntry(
        "imgcls.cli.recipes",
        "recipes",
        "List the recipes and search spaces that --config and --space take by name, with their figures; or print one.",
    ),
}
