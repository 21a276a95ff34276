"""Scale of the merged task vector: what averaging shrinks is stretched again.

The task vectors of models that were fine-tuned on different data point in different directions: their average is
shorter than each of them. The engine multiplies the task vector of a merged tensor, relative to the base, by the
parameter ``scale`` of the method (λ of Ilharco et al., Editing models with task arithmetic, 2022,
https://arxiv.org/abs/2212.04089). The classification head is not scaled unless an override names it.
"""

from typing import Any

from mu_lightning.merging.method_parameters import option
from mu_lightning.merging.methods.shared.weighting import moved

SCALE = "scale"
# Modules of a classification head in transformers' models.
HEADS = ("classifier", "classification_head", "score", "logits_proj")


def scale_option() -> Any:
    """Declares the parameter ``scale`` of a method with `Method.scalable`."""
    return option(1.0, "factor λ of the merged task vector, without the head; other values than 1 need the base model")


def is_head(tensor: str) -> bool:
    """Whether a tensor belongs to a classification head.

    >>> is_head("classifier.dense.weight"), is_head("roberta.encoder.layer.0.output.dense.weight")
    (True, False)
    """
    return tensor.partition(".")[0] in HEADS


def scaled(merged: Any, base: Any, scale: float) -> Any:
    """Computes base + scale · (merged − base) for tensors or NumPy arrays; elements that equal the base are exact.

    Args:
        merged: the merged chunk.
        base: the chunk of the base, of the same shape.
        scale: the factor λ; 1 returns `merged` itself.
    """
    return merged if scale == 1 else moved(base, [merged], [scale])
