"""Model Stock: interpolates between the base and the average of the models, by the angle between the task vectors.

Jang, Yun and Han, Model Stock: All we need is just a few fine-tuned models, 2024. https://arxiv.org/abs/2403.19522
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.methods.shared.inner_products import unit_products
from mu_lightning.merging.methods.shared.scaling import scale_option
from mu_lightning.merging.methods.shared.task_vectors import added, task_vectors, weighted_sum
from mu_lightning.merging.methods.slerp import inner_products


@dataclass(frozen=True)
class ModelStock:
    """Parameters of Model Stock."""

    scale: float = scale_option()


def ratio(products: torch.Tensor) -> float:
    """Interpolation ratio n cos θ / (1 + (n − 1) cos θ) with the mean pairwise cosine; 0 at the pole."""
    count = len(products)
    _, cosines = unit_products(products)
    cosine = (cosines.sum() - cosines.diagonal().sum()).item() / (count * (count - 1))
    below = 1 + (count - 1) * cosine
    return 0.0 if abs(below) < 1e-6 else count * cosine / below


def model_stock(chunk: Chunk, parameters: ModelStock) -> torch.Tensor:
    """Computes t times the average plus 1 − t times the base; each tensor is a layer."""
    count = len(chunk.sources)
    return added(chunk, weighted_sum(task_vectors(chunk), [1 / count] * count), ratio(chunk.global_statistics))


METHOD = Method(
    name="model_stock",
    summary="interpolation of base and average, by the angle between the task vectors",
    paper="Jang et al., Model Stock, 2024",
    url="https://arxiv.org/abs/2403.19522",
    combine=model_stock,
    parameters=ModelStock,
    scalable=True,
    global_statistics=inner_products,
    preserves_base_rows=True,
    needs_base=True,
    takes_weights=False,
    min_sources=2,
)
