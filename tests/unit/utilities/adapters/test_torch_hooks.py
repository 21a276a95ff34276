"""PyTorch still keeps forward hooks where the adapter finds them."""

from typing import Any

import pytest
from torch import nn

from mu_lightning.utilities.adapters.torch_hooks import has_forward_hooks

CHANGED = "PyTorch keeps forward hooks elsewhere now: mend adapters/torch_hooks.py"


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("options", [{}, {"with_kwargs": True}], ids=["plain", "with keywords"])
def test_a_hook_on_a_module_or_a_part_of_it_is_seen_until_it_is_removed(register: str, options: Any) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert not has_forward_hooks(model), CHANGED
    for part in (model, model[1]):
        handle = getattr(part, register)(lambda *_: None, **options)
        assert has_forward_hooks(model), CHANGED
        handle.remove()
        assert not has_forward_hooks(model), CHANGED
