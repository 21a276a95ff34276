"""Random masks, seeded by run, tensor, source and position.

A merge is reproducible: the masks depend neither on the order of the tensors, nor on the other sources, nor on the
number of threads.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

from mu_lightning.merging.method import Chunk
from mu_lightning.utilities.errors import UserError

_VALUES = 2**16
_PER_WORD = 4  # integers of 16 bits in one of 64 bits


def random_int16(start: int, count: int, seed: int, tensor: str, source: str) -> Tensor:
    """Uniform random integers in [-32768, 32767], of shape [count] and dtype int16.

    They are the elements from `start` of the raw stream of a NumPy bit generator, which is stable between versions.
    Each combination of seed, tensor and source has a stream of its own.
    """
    digest = hashlib.blake2b(f"{seed}\0{tensor}\0{source}".encode(), digest_size=16).digest()
    first, offset = divmod(start, _PER_WORD)
    generator = np.random.PCG64DXSM(int.from_bytes(digest, "little")).advance(first)
    stream = generator.random_raw(-(-(offset + count) // _PER_WORD))
    return torch.from_numpy(stream.view(np.int16)[offset : offset + count])


def keep_probability(density: float) -> float:
    """Rounds a density to a probability that 16-bit integers can represent."""
    return round(density * _VALUES) / _VALUES


def random_mask(chunk: Chunk, source: int, probability: "float | Tensor") -> Tensor:
    """Returns a random mask: 1 for kept and 0 for dropped elements, as floats, of the shape of the chunk.

    Args:
        chunk: the chunk.
        source: index of the source.
        probability: keep probability, for all elements or for each.

    Raises:
        UserError: the chunk has no random integers.
    """
    if chunk.random_integers is None:
        raise UserError(f"{chunk.name}: a stochastic method requires random integers")
    like = chunk.sources[source]
    integers = chunk.random_integers(source).to(like.device, like.dtype).view(like.shape)
    return integers.lt_(probability * _VALUES - _VALUES / 2)
