"""The results of runs in the terms of the results store."""

from typing import Any

import pytest

from mu_lightning.results.run_folders import cells_of_run


def described(name: str, verb: str = "fit", more: dict[str, Any] | None = None, **config: Any) -> dict[str, Any]:
    """What the store makes of a run's one result."""
    whole = {"data": {"corpus": "cldr"}, "model": {"base": "checkpoints/base"}, "preweight": "uriel"}
    whole |= {"merge": {"method": "ties"}, **config}
    (found,) = cells_of_run({"verb": verb, "config": whole, "seed": 3, "results": [{"name": name, **(more or {})}]})
    assert (found["corpus"], found["base"], found["seed"]) == ("cldr", "base", 3)
    return {key: value for key, value in found.items() if key not in ("corpus", "base", "seed", "split")}


TARGETS = [{"target_lang": "af-ZA"}, {"target_languages": ["af-ZA,da-DK"]}, {"target_languages": "af-ZA"}]


@pytest.mark.parametrize("target", TARGETS)
def test_a_run_with_targets_has_methods_and_baselines(target: dict[str, Any]) -> None:
    weights = {"weights": {"nl-NL": 0.4, "de-DE": 0.6}}
    used = {"sources": ["nl-NL", "de-DE"], "num_languages": 2, **weights}
    for name, more, expected in (
        (
            "iterative merging",
            weights,
            {"experiment_type": "iterative", "method": "ties", "preweight": "uriel", **used},
        ),
        (
            "merged once, equal weights",
            weights,
            {"experiment_type": "merge", "method": "ties", "preweight": "equal", **used},
        ),
        ("ensemble, soft", weights, {"experiment_type": "ensemble", "preweight": "uriel", "vote": "soft", **used}),
        ("native", {}, {"experiment_type": "baseline", "method": "native"}),
        ("joint multilingual", {"sources": ["nl-NL"]}, {"experiment_type": "baseline", "method": "joint"}),
        ("source nl-NL", {}, {"experiment_type": "source", "sources": ["nl-NL"], "num_languages": 1}),
    ):
        assert described(name, more=more, **target) == expected
    best = described("best source (nl-NL)", **target)
    assert (best["method"], best["sources"]) == ("best_source", ["nl-NL"])


def test_a_run_without_target_has_source_models_or_joint_ones() -> None:
    assert described("nl-NL") == {"experiment_type": "source", "sources": ["nl-NL"], "num_languages": 1}
    for name in ("multilingual", "without-sq-AL", "without-sq-AL+km-KH"):
        assert described(name) == {"experiment_type": "baseline", "method": "joint"}
    assert described("some/folder", verb="test") == {"experiment_type": "model"}
