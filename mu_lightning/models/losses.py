"""The loss of a member's batch: cross-entropy with label smoothing and label weights."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mu_lightning.data.encoding import Batch


class MemberLoss:
    """Computes what each member minimizes.

    Args:
        label_smoothing: share of the target distribution that is spread over all labels.

    Attributes:
        label_weights: member -> weights of its labels, shape (labels,); members without weigh all labels alike.
    """

    def __init__(self, label_smoothing: float) -> None:
        self.label_weights: dict[str, Tensor] = {}
        self._smoothing = label_smoothing

    def __call__(self, name: str, logits: Tensor, batch: Batch) -> Tensor:
        """The mean loss of a member's batch, times the share of this device in the full batch; a scalar.

        Args:
            name: the member.
            logits: shape (B, classes).
            batch: the batch of these logits.
        """
        return self.mean(name, logits, batch["labels"]) * batch["share"]

    def mean(self, name: str, logits: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of some rows, logits of shape (B, classes) and labels of shape (B,); a scalar."""
        if name not in self.label_weights:
            return cross_entropy(logits, labels, label_smoothing=self._smoothing)
        # Divided by the number of rows, not by the sum of weights, so that micro-batches add up to the full batch.
        weights = self.label_weights[name].to(logits)
        total = cross_entropy(logits, labels, weights, reduction="sum", label_smoothing=self._smoothing)
        return total / len(labels)


def balanced(counts: Tensor) -> Tensor:
    """Computes balanced label weights, as scikit-learn's ``balanced``; 0 for labels without rows.

    Args:
        counts: number of rows of each label, shape (labels,).

    Returns:
        Weights ``rows / (occurring labels * count)``, shape (labels,), float32.
    """
    weights = counts.sum() / ((counts > 0).sum() * counts.double())
    return torch.where(counts > 0, weights, 0.0).float()
