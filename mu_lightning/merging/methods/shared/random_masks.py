"""Random draws that belong to a run, a tensor, a source and an element of the tensor, and to nothing else.

So a merge is reproducible, and neither the order of the tensors, nor the other sources, nor the number of threads
changes what is drawn.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

from mu_lightning.merging.method import Piece
from mu_lightning.utilities.errors import UserError

_VALUES = 2**16
_A_WORD = 4  # numbers of 16 bits in one of 64


def whole_numbers(start: int, count: int, seed: int, tensor: str, source: str) -> Tensor:
    """Whole numbers in -32768..32767, all equally likely, of shape [count] and dtype int16.

    They are the elements from `start` of the raw stream of a numpy bit generator, which stays the same from one version
    to the next; a stream belongs to a run, a tensor and a source.
    """
    digest = hashlib.blake2b(f"{seed}\0{tensor}\0{source}".encode(), digest_size=16).digest()
    first, offset = divmod(start, _A_WORD)
    generator = np.random.PCG64DXSM(int.from_bytes(digest, "little")).advance(first)
    stream = generator.random_raw(-(-(offset + count) // _A_WORD))
    return torch.from_numpy(stream.view(np.int16)[offset : offset + count])


def keep_chance(density: float) -> float:
    """The chance nearest to `density` that draws of 16 bits can have."""
    return round(density * _VALUES) / _VALUES


def kept(piece: Piece, source: int, chance: "float | Tensor") -> Tensor:
    """1 for each element that is kept and 0 for each that is dropped, as floats, of the piece's shape.

    Args:
        piece: the piece.
        source: the source's index.
        chance: the chance to be kept, for all elements or for each.

    Raises:
        UserError: the piece has no draws.
    """
    if piece.draws is None:
        raise UserError(f"{piece.name}: this method draws at random, and the piece has no draws")
    like = piece.sources[source]
    return piece.draws(source).to(like.device, like.dtype).view(like.shape).lt_(chance * _VALUES - _VALUES / 2)
