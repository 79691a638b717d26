"""What a batch of logits says: the most probable classes, whether the true one is among them, and how sure they are.

Shapes: B batch, K classes, T most probable classes.
"""

import torch
from torch import Tensor

from imgcls.evaluation.figures.scores import NUM_ANSWERS

TOP_K = 5


def rank_guesses(logits_BK: Tensor, labels_B: Tensor, *, k: int = TOP_K) -> tuple[Tensor, Tensor]:
    """The first guess, and whether the true class is among the first k.

    Equal logits rank by class index, so that the answer is the same on every device, and a network that gives all
    classes the same score isn't called right every time. NaN ranks last.

    Args:
        logits_BK: unnormalised scores, float, shape (batch, num_classes).
        labels_B: class indices in [0, num_classes), int64, shape (batch,).
        k: how many guesses count; more than num_classes means all.
    Returns:
        Class indices, int64, and booleans, both of shape (batch,).
    """
    scores_BK = logits_BK.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    true_B1 = scores_BK.gather(1, labels_B[:, None])
    class_index_K = torch.arange(scores_BK.shape[1], device=scores_BK.device)
    tied_before_BK = (scores_BK == true_B1) & (class_index_K < labels_B[:, None])
    rank_B = ((scores_BK > true_B1) | tied_before_BK).sum(1)
    # argmax leaves open which of several maxima it takes; rank 0 is the one of least index.
    is_best_BK = scores_BK == scores_BK.amax(1, keepdim=True)
    guesses_B = torch.where(is_best_BK, class_index_K, scores_BK.shape[1]).amin(1)
    return guesses_B, rank_B < k


def top_answers(logits_BK: Tensor, log_probabilities_BK: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Brier scores, most probable classes and their probabilities, of shapes (batch,), (batch, T) and (batch, T).

    Args:
        logits_BK: unnormalised scores, float, shape (batch, num_classes).
        log_probabilities_BK: their log-softmax.
        labels_B: class indices in [0, num_classes), int64, shape (batch,).
    """
    probabilities_BK = log_probabilities_BK.exp()
    true_B = probabilities_BK.gather(1, labels_B[:, None])[:, 0]
    brier_B = probabilities_BK.square().sum(1) - 2 * true_B + 1
    # Equal ones by class index, as `rank_guesses` has it.
    ranked_BK = logits_BK.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    ids_BT = ranked_BK.sort(stable=True, dim=1, descending=True).indices[:, :NUM_ANSWERS]
    return brier_B, ids_BT, probabilities_BK.gather(1, ids_BT)
