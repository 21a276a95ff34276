"""Fast paths on a CPU and the plain paths beside them: what the rest of the project knows of either.

| function | fast path | plain path |
|---|---|---|
| `scoring_pass` | `packed.PackedClassifier` | `plain.PlainClassifier` |
| `training_pass` | `stacked.StackedMembers` | `plain.LoopedMembers` |
| `spread` | one thread per function | one function after another |

Both paths of a function have one interface and give the same numbers within rounding. The fast one is chosen where it
supports the model, the device and the precision. No module outside this folder imports another one of it.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from transformers import PreTrainedModel

from mu_lightning.data.encoding import Batch
from mu_lightning.models.cpu.member_threads import spread
from mu_lightning.models.cpu.packed import PackedClassifier, can_pack
from mu_lightning.models.cpu.plain import LoopedMembers, PlainClassifier
from mu_lightning.models.cpu.products import bucket_size
from mu_lightning.models.cpu.stacked import Member, StackedMembers, can_stack
from mu_lightning.settings import ModelSettings

__all__ = [
    "LoopedMembers",
    "PlainClassifier",
    "ScoringPass",
    "TrainingPass",
    "bucket_size",
    "can_stack",
    "scoring_pass",
    "spread",
    "training_pass",
]


class ScoringPass(Protocol):
    """A classifier's forward pass, in evaluation mode."""

    def __call__(self, batch: Batch) -> Tensor:
        """Computes logits of shape (B, classes), in float32."""


class TrainingPass(Protocol):
    """The forward and backward passes of members.

    Attributes:
        stacked: whether members are computed in parallel, without padding.
    """

    stacked: bool

    def losses(
        self, batch: Mapping[str, Batch], seeds: Mapping[str, int], loss: Callable[[str, Tensor, Batch], Tensor]
    ) -> dict[str, Tensor]:
        """Computes the differentiable scalar loss of each member.

        Args:
            batch: member -> batch.
            seeds: member -> random seed of dropout.
            loss: computes the loss from the name of a member, its logits of shape (B, classes), and its batch.
        """


def scoring_pass(model: PreTrainedModel, device: torch.device) -> ScoringPass:
    """Chooses how a model is scored while its weights do not change.

    Args:
        model: a classifier of transformers.
        device: where batches are.
    """
    if device.type == "cpu" and can_pack(model):
        return PackedClassifier(model)
    return PlainClassifier(model, device)


def training_pass(
    members: Mapping[str, Member], loop: LoopedMembers, settings: ModelSettings, trainer: Trainer
) -> TrainingPass:
    """Chooses how members are trained.

    Args:
        members: name -> member.
        loop: the plain path.
        settings: ``execution`` may ask for a path.
        trainer: its device, precision and number of processes decide.

    Raises:
        UserError: the fast path was requested but is not supported.
    """
    if not can_stack(list(members.values()), settings, trainer):
        return loop
    models = {name: member.model for name, member in members.items()}
    return StackedMembers(models, through_autograd=trainer.world_size > 1)
