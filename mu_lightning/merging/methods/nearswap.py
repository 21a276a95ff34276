"""NearSwap: moves the first model towards the second where the two are already close.

alchemonaut, QuartetAnemoi, 2024. https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001
"""

from dataclasses import dataclass

import torch

from mu_lightning.merging.method import Chunk, Method
from mu_lightning.merging.method_parameters import option


@dataclass(frozen=True)
class NearSwap:
    """Parameters of NearSwap."""

    t: float = option(0.0001, "elements closer than t take the value of the second model, others move by t", low=0)


def nearswap(chunk: Chunk, parameters: NearSwap) -> torch.Tensor:
    """Computes (1 − s) θ_0 + s θ_1 with s = min(1, t / |θ_0 − θ_1|)."""
    first, second = chunk.sources
    apart = second - first
    return first + apart.clamp(-parameters.t, parameters.t)


METHOD = Method(
    name="nearswap",
    summary="first model, moved towards the second where the two are already close",
    paper="alchemonaut, QuartetAnemoi, 2024",
    url="https://huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
    combine=nearswap,
    parameters=NearSwap,
    row_independent=True,
    takes_weights=False,
    order_invariant=False,
    min_sources=2,
    max_sources=2,
)
