"""High-level functions of the Python API."""

from collections.abc import Mapping, Sequence
from typing import Any

from mu_lightning.locales import LOCALES
from mu_lightning.settings import TypologySettings
from mu_lightning.typology.plan import plan_sources


def source_weights(
    target: str,
    sources: Sequence[str] | None = None,
    *,
    num_languages: int = 5,
    preweight: str = "uriel",
    weights: Mapping[str, float] | str | None = None,
    seed: int = 0,
    **typology: Any,
) -> dict[str, float]:
    """Computes merge weights of the sources of a target: source -> weight, summing to 1.

    Args:
        target: target locale, such as ``"sq-AL"``.
        sources: source locales; default: the `num_languages` most similar ones.
        num_languages: number of sources to select.
        preweight: weight source: ``uriel``, ``equal``, ``manual`` or ``shuffled``.
        weights: weights for ``manual``.
        seed: random seed, for ``shuffled``.
        typology: fields of `TypologySettings`, such as ``feature_set`` or ``top_k``.

    Raises:
        UserError: see `plan_sources`.
    """
    plan = plan_sources(
        target,
        available=LOCALES,
        locales=sources,
        num_languages=num_languages,
        preweight=preweight,
        manual_weights=weights,
        settings=TypologySettings(**typology),
        seed=seed,
    )
    return plan.weights
