"""Merge weights that are re-read at each merge from dev scores."""

import math
from collections.abc import Mapping

from mu_lightning.settings import Reweight

# What of the target a way to re-read weights has looked at.
READS_TARGET: dict[Reweight, bool] = {"none": False, "target-dev": True, "source-dev": False}


def reweighted(
    how: Reweight,
    weights: Mapping[str, float],
    on_target: Mapping[str, float],
    on_own: Mapping[str, float],
    temperature: float = 1.0,
) -> dict[str, float]:
    """The merge weights for now.

    Args:
        how: ``none`` leaves them; ``target-dev`` takes the members' accuracies on the target's dev split;
            ``source-dev`` the weights times the members' accuracies on their own dev splits.
        weights: member -> its weight by typology, summing to 1.
        on_target: member -> accuracy on the target's dev split, 0 to 1.
        on_own: member -> accuracy on its own dev split, 0 to 1.
        temperature: accuracies a count as a ** (1 / temperature): below 1 differences count for more.

    Returns:
        Weights that sum to 1, in the order given; those of typology where all accuracies are 0.
    """
    if how == "none":
        return dict(weights)
    scores = on_target if how == "target-dev" else on_own
    best = max(scores[name] for name in weights)
    if best == 0:
        return dict(weights)
    # Relative to the best: powers of small accuracies must not vanish together.
    raised = {name: (scores[name] / best) ** (1 / temperature) for name in weights}
    if how == "source-dev":
        raised = {name: value * weights[name] for name, value in raised.items()}
    total = math.fsum(raised.values())
    return {name: value / total for name, value in raised.items()} if total else dict(weights)
