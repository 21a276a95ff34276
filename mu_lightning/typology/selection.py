"""Source selection: the most similar available locales.

Locales are ranked by raw similarity. Sinkhorn normalization increases the values of languages that are dissimilar to
all
others: it is suitable for weighting a set of sources, but not for selecting it.
"""

from collections.abc import Collection

from mu_lightning.typology.similarity import SimilarityMatrix
from mu_lightning.utilities.errors import UserError


def ranked(similarity: SimilarityMatrix, target: str, available: Collection[str] | None = None) -> tuple[str, ...]:
    """Ranks locales by similarity to a target; ties are resolved by the order of the matrix.

    Args:
        similarity: similarity matrix.
        target: the target locale.
        available: candidates; locales that are missing in the matrix are ignored.

    Raises:
        UserError: the target is missing in the matrix.
    """
    row = similarity.values[similarity.index(target)]
    candidates = [
        index
        for index, tag in enumerate(similarity.locales)
        if tag != target and (available is None or tag in available)
    ]
    return tuple(similarity.locales[index] for index in sorted(candidates, key=lambda index: -row[index]))


def nearest_sources(
    similarity: SimilarityMatrix, target: str, available: Collection[str], num_languages: int, top_k: int
) -> tuple[str, ...]:
    """Selects the `num_languages` most similar available locales among the `top_k` nearest locales of a target.

    Raises:
        UserError: too few candidates (the error names them, and whether `top_k` is the limit), or a number below 1.
    """
    if num_languages < 1:
        raise UserError(f"the number of source languages must be at least 1, not {num_languages}")
    if top_k < 1:
        raise UserError(f"top-k must be at least 1, not {top_k}")
    candidates = ranked(similarity, target, available)
    within = set(ranked(similarity, target)[:top_k])
    chosen = tuple(tag for tag in candidates if tag in within)
    if len(chosen) < num_languages:
        raise UserError(_too_few(target, num_languages, candidates, chosen, top_k))
    return chosen[:num_languages]


def _too_few(target: str, asked: int, candidates: tuple[str, ...], chosen: tuple[str, ...], top_k: int) -> str:
    sources = f"{asked} source language{'s are' if asked > 1 else ' is'} asked for {target}, but"
    if not candidates:
        return f"{sources} no source other than {target} itself is available"
    if len(candidates) == len(chosen):
        return f"{sources} only {len(chosen)} exist{'s' if len(chosen) == 1 else ''}: {', '.join(chosen)}"
    which = f": {', '.join(chosen)}" if chosen else ""
    return (
        f"{sources} only {len(chosen)} of the {len(candidates)} available are among its {top_k} nearest{which}; "
        f"raise --top-k, lower --num-languages or name the sources with --locales"
    )
