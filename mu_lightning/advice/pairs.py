"""Features of pairs of a source and a target: typology, script, subwords, sizes.

After LangRank (Lin et al. 2019, https://aclanthology.org/P19-1301), with the tokenizer of the base in place of words.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mu_lightning.advice.profiles import Profile
from mu_lightning.locales import locale
from mu_lightning.typology.features import FEATURE_SETS, locales_with_data
from mu_lightning.typology.similarity import from_features
from mu_lightning.utilities.errors import UserError

SCRIPT, COVERAGE, OVERLAP = "same_script", "coverage", "overlap"
_TEXT = (
    *(COVERAGE, OVERLAP, "source_tokens_per_word", "target_tokens_per_word"),
    *("source_vocabulary", "target_vocabulary", "source_rows"),
)
FEATURES = (*FEATURE_SETS, SCRIPT, *_TEXT)


def pair_features(sources: Sequence[str], targets: Sequence[str], texts: Mapping[str, Profile]) -> np.ndarray:
    """Features of all pairs.

    Args:
        sources: tags of the sources.
        targets: tags of the targets.
        texts: tag -> profile, for languages with text.

    Returns:
        Array of shape (sources, targets, `FEATURES`), float64; NaN for missing values. Sizes are natural logarithms.
    """
    result = np.full((len(sources), len(targets), len(FEATURES)), np.nan)
    for place, name in enumerate(FEATURE_SETS):
        result[..., place] = _similarities(name, sources, targets)
    scripts = [[locale(tag).script for tag in tags] for tags in (sources, targets)]
    result[..., FEATURES.index(SCRIPT)] = np.array(scripts[0])[:, None] == np.array(scripts[1])[None, :]
    for row, source in enumerate(sources):
        for column, target in enumerate(targets):
            if source in texts and target in texts:
                result[row, column, -len(_TEXT) :] = _of_text(texts[source], texts[target])
    return result


def _of_text(source: Profile, target: Profile) -> list[float]:
    return [
        *(source.coverage(target), source.overlap(target), source.tokens_per_word, target.tokens_per_word),
        *(math.log(len(source.tokens)), math.log(len(target.tokens))),
        math.log(source.train_rows) if source.train_rows else math.nan,
    ]


def _similarities(name: str, sources: Sequence[str], targets: Sequence[str]) -> np.ndarray:
    tags = tuple(dict.fromkeys((*sources, *targets)))
    known = [tag for tag in tags if tag in set(locales_with_data(name, tags))]
    result = np.full((len(sources), len(targets)), np.nan)
    if not known:
        return result
    try:
        matrix = from_features(name, known)
        values = {(one, other): matrix.similarity(one, other) for one in known for other in known}
    except UserError:  # two of them have no feature in common
        values = {(one, other): _similarity(name, one, other) for one in known for other in known}
    for row, source in enumerate(sources):
        for column, target in enumerate(targets):
            result[row, column] = values.get((target, source), math.nan)
    return result


def _similarity(name: str, one: str, other: str) -> float:
    try:
        return from_features(name, (one, other)).similarity(one, other) if one != other else 1.0
    except UserError:
        return math.nan
