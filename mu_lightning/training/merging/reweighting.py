"""Merge weights from dev scores, recomputed at each merge."""

import math
from collections.abc import Mapping

from mu_lightning.settings import Reweight

# Target data used by each option.
READS_TARGET: dict[Reweight, bool] = {"none": False, "target-dev": True, "source-dev": False}


def reweighted(
    how: Reweight,
    weights: Mapping[str, float],
    on_target: Mapping[str, float],
    on_own: Mapping[str, float],
    temperature: float = 1.0,
) -> dict[str, float]:
    """Computes the current merge weights.

    Args:
        how: ``none`` keeps the weights; ``target-dev`` uses the members' accuracies on the target's dev split;
            ``source-dev`` the weights times the members' accuracies on their own dev splits.
        weights: typological weight of each member, summing to 1.
        on_target: accuracy of each member on the target's dev split, 0 to 1.
        on_own: accuracy of each member on its own dev split, 0 to 1.
        temperature: accuracies are raised to 1 / temperature: values below 1 favor better members.

    Returns:
        Weights that sum to 1, in the given order; the typological weights if all accuracies are 0.
    """
    if how == "none":
        return dict(weights)
    scores = on_target if how == "target-dev" else on_own
    best = max(scores[name] for name in weights)
    if best == 0:
        return dict(weights)
    # Relative to the best, to avoid underflow.
    raised = {name: (scores[name] / best) ** (1 / temperature) for name in weights}
    if how == "source-dev":
        raised = {name: value * weights[name] for name, value in raised.items()}
    total = math.fsum(raised.values())
    return {name: value / total for name, value in raised.items()} if total else dict(weights)
