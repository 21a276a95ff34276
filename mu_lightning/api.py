"""Short ways to what a user of the library wants first; `mu_lightning` offers them by name."""

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
    """The merge weights of a target's sources, by typology: source -> weight, summing to 1.

    Args:
        target: the locale that the sources are for, such as ``"sq-AL"``.
        sources: the locales to weigh; without them the `num_languages` most similar ones.
        num_languages: how many sources are chosen where none are named.
        preweight: where the weights come from: ``uriel``, ``equal``, ``manual`` or ``shuffled``.
        weights: the weights for ``manual``.
        seed: for ``shuffled``.
        typology: fields of `TypologySettings`, such as ``feature_set`` or ``top_k``.

    Raises:
        UserError: as of `plan_sources`.
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
