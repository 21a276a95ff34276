"""The methods against mergekit 0.1.5, whose results on small random models lie beside this file.

They were made with its `merge_state_dicts`; the names before the slash are the cases below.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mu_lightning.merging.engine import merge_tensors

WEIGHTS = {"a": 0.5, "b": 0.3, "c": 0.2}
PAIR = {"a": 0.6, "b": 0.2}

# Case: our method, weights, whether it sees the base, and the parameters that make ours do as mergekit does.
CASES = {
    "linear": ("linear", WEIGHTS, False, {}),
    "linear_raw": ("linear", {"a": 1.0, "b": 0.6, "c": 0.4}, False, {"weighting": "raw"}),
    "task_arithmetic": ("task_arithmetic", WEIGHTS, True, {"scaling": 0.7, "weighting": "raw"}),
    "ties": ("ties", WEIGHTS, True, {"density": 0.3, "scope": "tensor"}),
    "ties_total": (
        "ties",
        WEIGHTS,
        True,
        {"density": 0.3, "scope": "tensor", "consensus": "total", "scaling": 0.5, "weighting": "raw"},
    ),
    "breadcrumbs": (
        "breadcrumbs",
        WEIGHTS,
        True,
        {"density": 0.3, "outliers": 0.1, "scaling": 1.0, "weighting": "raw"},
    ),
    "breadcrumbs_ties": (
        "breadcrumbs_ties",
        WEIGHTS,
        True,
        {"density": 0.3, "outliers": 0.1, "consensus": "total", "weighting": "raw"},
    ),
    "sce": ("sce", WEIGHTS, True, {"density": 0.2, "consensus": "average"}),
    "model_stock": ("model_stock", WEIGHTS, True, {}),
    "multislerp": ("multislerp", WEIGHTS, True, {}),
    "multislerp_nobase": ("multislerp", WEIGHTS, False, {}),
    "karcher": ("karcher", dict.fromkeys("abc", 1.0), False, {}),
    "nuslerp": ("nuslerp", PAIR, True, {}),
    "nuslerp_rows": ("nuslerp", PAIR, False, {"along": "rows"}),
    "nuslerp_columns": ("nuslerp", PAIR, False, {"along": "columns"}),
    "ram": ("ram", dict.fromkeys("abc", 1.0), True, {"epsilon": 0.2}),
    "ram_plus": ("ram", dict.fromkeys("abc", 1.0), True, {"epsilon": 0.2, "boost": 0.5, "limit": 0.4}),
    "arcee_fusion": ("arcee_fusion", {"a": 1.0}, True, {}),
    "slerp": ("slerp", {"a": 0.75, "b": 0.25}, False, {}),
    "nearswap": ("nearswap", {"a": 0.5, "b": 0.5}, False, {"t": 0.1}),
}


@pytest.fixture(scope="module")
def stored() -> dict[str, dict[str, torch.Tensor]]:
    groups: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in load_file(Path(__file__).with_name("mergekit-0.1.5.safetensors")).items():
        group, _, key = name.partition("/")
        groups.setdefault(group, {})[key] = tensor
    return groups


@pytest.mark.parametrize("case", CASES)
def test_it_gives_what_mergekit_gives(case: str, stored: dict[str, dict[str, torch.Tensor]]) -> None:
    method, weights, has_base, parameters = CASES[case]
    merged = merge_tensors(
        method,
        {name: stored[name] for name in weights},
        weights,
        base=stored["base"] if has_base else None,
        parameters=parameters,
    )
    for name, tensor in stored[case].items():
        torch.testing.assert_close(merged[name], tensor, rtol=0, atol=1e-5)
