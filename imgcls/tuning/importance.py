"""Which settings a search's results depend on."""

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

# Below this many complete trials an estimate of importance is noise: PED-ANOVA's authors ask for five trials or more
# among the best, and a quarter of them counts as the best here.
MIN_FOR_IMPORTANCE = 20
BEST_QUANTILE = 0.25


def importance_of(study: "optuna.Study") -> dict[str, float] | None:
    """How much of what sets good trials apart each setting explains, the most important first.

    Returns:
        Fractions that add up to 1; None where there are too few complete trials to tell.
    Source: Watanabe, Bansal and Hutter 2023 (PED-ANOVA), as Optuna has it.
    """
    import optuna

    with warnings.catch_warnings():
        # Experimental in older versions.
        warnings.simplefilter("ignore")
        complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        if len(complete) < MIN_FOR_IMPORTANCE or len({trial.value for trial in complete}) == 1:
            return None
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_QUANTILE)
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: round(float(share), 4) for key, share in found.items()}
