"""Several runs beside each other: how good, how fast, and in what they differ."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgcls.errors import UsageError
from imgcls.recipes.loading import read_toml
from imgcls.recipes.schema import Recipe
from imgcls.runs.metrics import best_score, read_metrics, read_result
from imgcls.runs.result import Score

SCHEMA = 1
# Settings without a default that say what runs have in common.
TELLING = ("data.source", "model.name")


@dataclass(frozen=True)
class Run:
    """What a run's folder tells; also of one that is under way.

    Attributes:
        path: the folder.
        settings: of the resolved recipe, by dotted key.
        metrics: the lines of metrics.jsonl.
        result: result.json; None where the run has not ended, or was killed.
    """

    path: Path
    settings: dict[str, Any]
    metrics: list[dict[str, Any]] = field(repr=False)
    result: dict[str, Any] | None = field(repr=False)

    @property
    def epochs(self) -> int:
        """Whole epochs done."""
        return int(self.metrics[-1]["epoch"]) if self.metrics else 0

    @property
    def best(self) -> Score | None:
        """The epoch behind best.pt; None before the first has ended."""
        return best_score(self.metrics)

    @property
    def train_sec(self) -> float:
        """In training steps alone."""
        return float(sum(line["seconds"] for line in self.metrics))

    @property
    def test_top1(self) -> float | None:
        """Of best.pt on the test images, where the run has come so far; of several labels per image mAP."""
        test = self.result.get("test") if self.result else None
        return float(test.get("map", test.get("top1"))) if test else None

    def to_dict(self, keys: Sequence[str]) -> dict[str, Any]:
        """Plain values, with those settings of the recipe that are asked for."""
        best = self.best
        return {
            "run": str(self.path),
            "epochs": self.epochs,
            "best": best.to_dict() if best else None,
            "test_map" if best is not None and best.map is not None else "test_top1": self.test_top1,
            "train_sec": round(self.train_sec, 3),
            "stopped": self.result.get("stopped") if self.result else None,
            "ended": self.result is not None,
            "settings": {key: self.settings.get(key) for key in keys},
        }


@dataclass(frozen=True)
class Comparison:
    """Runs, and the settings in which they differ.

    Attributes:
        runs: the best first.
        keys: dotted, in the order in which the recipes have them.
        passed_over: what was named and is there, but isn't the folder of a run.
        common: the settings that all share and that aren't the defaults.
    """

    runs: tuple[Run, ...]
    keys: tuple[str, ...]
    passed_over: tuple[Path, ...] = ()
    common: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The JSON answer."""
        return {
            "schema": SCHEMA,
            "differ_in": list(self.keys),
            "common": self.common,
            "runs": [run.to_dict(self.keys) for run in self.runs],
        }


def compare_runs(paths: Sequence[Path]) -> Comparison:
    """Read runs and find out in what they differ.

    Args:
        paths: their folders, at least one; what else a pattern such as `runs/*` finds is passed over.
    Raises:
        UsageError: one of them isn't there, or none is a run's folder.
        ConfigError: a recipe can't be read.
        DataError: what a run has written of itself is damaged.
    """
    passed_over = tuple(path for path in paths if path.exists() and not (path / "config.toml").is_file())
    runs = [read_run(path) for path in paths if path not in passed_over or len(passed_over) == len(paths)]
    keys = dict.fromkeys(key for run in runs for key in run.settings)
    differ = tuple(key for key in keys if any(run.settings.get(key) != runs[0].settings.get(key) for run in runs))
    usual = _flat(Recipe().model_dump(mode="json", exclude_none=True)) | dict.fromkeys(TELLING)
    # What is nothing unless it is asked for has been resolved from the rest, so it tells nothing.
    shared = [key for key in keys if key not in differ and key in usual]
    common = {key: runs[0].settings[key] for key in shared if runs[0].settings[key] != usual[key]}
    return Comparison(tuple(sorted(runs, key=_rank)), differ, passed_over, common)


def read_run(path: Path) -> Run:
    """What a run's folder tells.

    Raises:
        UsageError: it isn't one.
        ConfigError: its recipe can't be read.
        DataError: what it has written of itself is damaged.
    """
    if not (path / "config.toml").is_file():
        raise UsageError(
            f"{path} is not the folder of a run: it holds no config.toml", hint="imgcls compare runs/one runs/other"
        )
    return Run(
        path=path,
        settings=_flat(read_toml(path / "config.toml")),
        metrics=read_metrics(path),
        result=read_result(path),
    )


def _flat(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in tables.items():
        values |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": _plain(value)}
    return values


def _plain(value: Any) -> Any:
    """What JSON has too: TOML knows dates and infinities, which no recipe of ours holds, but a file may."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    is_plain = isinstance(value, bool | int | str | dict) or (isinstance(value, float) and math.isfinite(value))
    return value if is_plain else str(value)


def _rank(run: Run) -> tuple[float, float]:
    best = run.best
    if best is None or best.main is None or best.loss is None:
        return (1.0, float("inf"))
    return (-best.main, best.loss)
