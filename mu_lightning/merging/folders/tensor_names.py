"""Names of tensors as loading takes them: those of earlier versions, and an encoder's with or without its prefix."""

import re
from collections.abc import Mapping

from mu_lightning.merging.engine.checks import Signature
from mu_lightning.merging.engine.dtypes import is_float

# Buffers that earlier versions of transformers stored; later ones compute them, and ignore what is stored.
_COMPUTED = re.compile(r"(^|\.)(position_ids|rotary_emb\.inv_freq)$|(^|\.)embeddings\.token_type_ids$")
# As checkpoints that were converted from TensorFlow have them.
_RENAMED = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def is_computed(name: str) -> bool:
    """Whether a tensor of this name is a buffer that loading ignores."""
    return _COMPUTED.search(name) is not None


def current_name(name: str) -> str:
    """The name of a tensor in the current version of transformers.

    >>> current_name("bert.embeddings.LayerNorm.gamma")
    'bert.embeddings.LayerNorm.weight'
    """
    for former, current in _RENAMED.items():
        if name.endswith(former):
            return name.removesuffix(former) + current
    return name


def aligned_names(names: Mapping[str, Signature], reference: Mapping[str, Signature]) -> dict[str, str]:
    """Tensor name -> its name in a reference model, for an encoder that has, or lacks, the prefix of its base model.

    transformers saves an encoder alone as ``embeddings.*`` and ``encoder.*``, and under any head as ``roberta.*`` (or
    another prefix), and loads either into both.

    Args:
        names: the model's tensors.
        reference: the tensors of the model that it is compared with.

    Returns:
        All names; unchanged where the reference has more tensors of those names and shapes than with a prefix added or
        taken away.
    """

    def matches(change: Mapping[str, str]) -> int:
        return sum(reference.get(change[name], ((), ""))[0] == shape for name, (shape, _) in floats.items())

    floats = {name: signature for name, signature in names.items() if is_float(signature[1])}
    prefixes = {name.partition(".")[0] for name in reference}
    own = {name.partition(".")[0] for name in names}
    candidates = [{name: name for name in names}]
    candidates += [{name: f"{prefix}.{name}" for name in names} for prefix in sorted(prefixes)]
    candidates += [
        {name: name.removeprefix(f"{prefix}.") for name in names} for prefix in sorted(own - prefixes) if prefix
    ]
    return max(candidates, key=matches)  # the first of several that are alike
