"""The optimizer of a run: one AdamW for all members."""

from collections.abc import Mapping
from typing import Any

from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.optim.optimizer import MemberAdamW
from mu_lightning.models.optim.rounded import RoundedAdamW
from mu_lightning.settings import ModelSettings


def build_optimizer(
    members: Mapping[str, IntentClassifier], settings: ModelSettings, learning_rate: float, seed: int
) -> MemberAdamW:
    """Creates one AdamW with two parameter groups per member, with and without weight decay (biases and norms).

    Args:
        members: name -> member.
        settings: weight decay, and the type of the moments.
        learning_rate: the peak learning rate.
        seed: random seed of the run, for moments in bfloat16.
    """
    groups = []
    for name, member in members.items():
        parameters = [parameter for parameter in member.parameters() if parameter.requires_grad]
        alone = member.full_word_embeddings  # decays by itself, in its used rows alone
        for decays in (True, False):
            chosen = [one for one in parameters if (one.ndim > 1 and one is not alone) == decays]
            groups.append({"member": name, "params": chosen, "weight_decay": settings.weight_decay if decays else 0.0})
    options: dict[str, Any] = {"lr": learning_rate, "fused": True}
    if settings.moments_dtype == "bfloat16":
        return RoundedAdamW(groups, seed, **options)
    return MemberAdamW(groups, **options)
