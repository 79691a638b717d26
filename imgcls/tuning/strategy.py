"""How Optuna searches: what it draws from, what chooses, and what gives up."""

import importlib.util
from typing import TYPE_CHECKING, Literal

from imgcls.errors import UsageError
from imgcls.training.rng import seed_for
from imgcls.tuning.space import Choices, Dimension, FloatRange

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

PrunerName = Literal["median", "halving", "none"]
PRUNERS: tuple[PrunerName, ...] = ("median", "halving", "none")


def require_optuna() -> None:
    """Say how to get Optuna where it is missing; doesn't import it.

    Raises:
        UsageError: it isn't installed.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UsageError("tuning needs optuna, which is not installed", hint="pip install 'imgcls[tune]'")


def distribution_of(dimension: Dimension) -> "BaseDistribution":
    """Optuna's word for a dimension of a space."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(dimension, Choices):
        return CategoricalDistribution(dimension.labels)
    if isinstance(dimension, FloatRange):
        return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
    return IntDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def sampler_for(seed: int, number: int) -> "BaseSampler":
    """What chooses the values of one trial, by those before it.

    A sampler for the whole study would begin its random numbers anew with every process, and repeat itself.

    Args:
        seed: of the search.
        number: of the trial.
    """
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed_for(seed, "search", number) % 2**32)


def pruner_named(name: PrunerName, *, epochs: int) -> "BasePruner":
    """What decides which trials to give up.

    Args:
        name: one of `PRUNERS`.
        epochs: of the recipe.
    """
    from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner

    if name == "none":
        return NopPruner()
    if name == "halving":
        return SuccessiveHalvingPruner(min_resource=max(1, epochs // 8), reduction_factor=3)
    # While the learning rate still rises, the first epochs say little. Epochs are counted from 1.
    return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 5) + 1)
