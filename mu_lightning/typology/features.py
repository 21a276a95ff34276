"""Typological feature sets: vectors for the language of a locale.

To add a feature set, add a function from language codes to rows and a line in `FEATURE_SETS`. The set then appears in
`--help`, in configurations and in the tests for all sets.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import numpy as np

from mu_lightning.locales import LOCALES, locale
from mu_lightning.typology.databases import Codes, grambank_table, learned_table, npz_table
from mu_lightning.utilities.errors import UserError, unknown


def _predicted(prefix: str) -> Callable[[Codes], np.ndarray]:
    def rows(codes: Codes) -> np.ndarray:
        return npz_table("lang2vec", "data", "feature_predictions.npz", prefix=prefix, codes=codes)[1]

    return rows


def _family(codes: Codes) -> np.ndarray:
    return npz_table("lang2vec", "data", "family_features.npz", prefix="F_", codes=codes)[1]


def _geography(codes: Codes) -> np.ndarray:
    return npz_table("lang2vec", "data", "geocoord_features.npz", prefix="GC_", codes=codes)[1]


def _script(codes: Codes) -> np.ndarray:
    path = ("database", "original_uriel", "script_features.npz")
    return npz_table("urielplus", *path, prefix="SC_", codes=codes)[1]


def _syntax_observed(codes: Codes) -> np.ndarray:
    names, values = npz_table("lang2vec", "data", "features.npz", prefix="S_", codes=codes)
    more_names, more_values = grambank_table("S_", codes)
    union = {name: values[:, column] for column, name in enumerate(names)}
    for column, name in enumerate(more_names):
        known = union.get(name, np.full(len(codes), np.nan))
        union[name] = np.fmax(known, more_values[:, column])  # union: the maximum of both values, as in URIEL+
    return np.stack(list(union.values()), axis=1)


FEATURE_SETS: dict[str, Callable[[Codes], np.ndarray]] = {
    "syntax_knn": _predicted("S_"),  # 103 features of word order and morphology, with kNN imputation
    "phonology_knn": _predicted("P_"),  # 28 phonological features
    "inventory_knn": _predicted("INV_"),  # 158 phonemes, binary
    "family": _family,  # 3,718 nodes of the family tree, binary
    "geography": _geography,  # distances to 299 points on the globe
    "learned": learned_table,  # 512 dimensions of a translation model; missing for eight locales
    "script": _script,  # URIEL+: 42 features of the writing systems
    "urielplus_syntax": _syntax_observed,  # union of URIEL's and Grambank's observed features, without imputation
}


def _with_more(more: Iterable[str]) -> tuple[str, ...]:
    wanted = dict.fromkeys(more)
    others = {tag: locale(tag).iso639_3 for tag in wanted if tag not in LOCALES}
    tags: dict[str, None] = {}
    for tag, entry in LOCALES.items():
        same = [other for other, code in others.items() if code == entry.iso639_3]
        tags |= dict.fromkeys([tag] if tag in wanted or not same else same)
    return tuple(tags | dict.fromkeys(others))


def nearest_with_data(feature_set: str, tag: str, count: int = 3) -> tuple[str, ...]:
    """The locales of the table that are most like `tag` by family, or else by place, and have data in a feature set."""
    candidates = [one for one in locales_with_data(feature_set) if locale(one).iso639_3 != locale(tag).iso639_3]
    for name in ("family", "geography"):
        rows = _table(name, (tag, *candidates))
        if not np.isnan(rows[0]).all():
            values = np.nan_to_num(rows)
            norms = np.linalg.norm(values, axis=1)
            cosines = values[1:] @ values[0] / np.where(norms[1:] > 0, norms[1:] * norms[0], 1.0)
            if cosines.max() > 0:
                return tuple(candidates[place] for place in np.argsort(-cosines, kind="stable")[:count])
    return ()


@lru_cache(maxsize=32)
def _table(feature_set: str, tags: tuple[str, ...]) -> np.ndarray:
    rows = FEATURE_SETS[feature_set]([locale(tag).uriel for tag in tags])
    rows.flags.writeable = False
    return rows


def _registered(feature_set: str) -> str:
    if feature_set not in FEATURE_SETS:
        raise unknown("feature set", feature_set, FEATURE_SETS)
    return feature_set


def features(feature_set: str, locales: Sequence[str]) -> np.ndarray:
    """Returns the feature vectors of locales.

    Args:
        feature_set: a name in `FEATURE_SETS`.
        locales: tags of the locales, in the order of the rows.

    Returns:
        Array of shape (locales, features), float64, read-only; NaN for missing values.

    Raises:
        UserError: an unknown set or locale, or a locale without data.
    """
    rows = _table(_registered(feature_set), tuple(locales))
    for tag, row in zip(locales, rows, strict=True):
        if np.isnan(row).all():
            raise no_data(feature_set, tag)
    return rows


def no_data(feature_set: str, tag: str) -> UserError:
    """The error for a language of which a feature set, or a mix of some, knows nothing."""
    having = [name for name in FEATURE_SETS if not np.isnan(_table(name, (tag,))).all()]
    what = f"choose another set (--feature-set {', '.join(having)})" if having else "read similarities from a file"
    near = nearest_with_data(feature_set, tag)
    also = f"; the nearest languages that it knows are {', '.join(near)}" if near else ""
    codes = ", ".join(locale(tag).uriel[:3])
    return UserError(
        f"feature set '{feature_set}' has no data for {tag} ({locale(tag).name}, tried {codes}): {what} or leave {tag} "
        f"out{also}"
    )


def parse_mix(text: str) -> dict[str, float]:
    """Parses a mix of feature sets, ``"syntax_knn:0.7+geography:0.3"``, into shares that sum to 1.

    >>> parse_mix("family:3+script")
    {'family': 0.75, 'script': 0.25}

    Raises:
        UserError: an unknown set, a repeated set, or a share that is not a positive number.
    """
    shares: dict[str, float] = {}
    for part in text.split("+"):
        name, colon, share = part.strip().partition(":")
        if _registered(name.strip()) in shares:
            raise UserError(f"the mix '{text}' names feature set '{name}' twice")
        try:
            shares[name.strip()] = float(share) if colon else 1.0
        except ValueError as error:
            raise UserError(f"the mix '{text}' gives '{name}' the share '{share}', which is not a number") from error
    if not all(math.isfinite(share) and share > 0 for share in shares.values()):
        raise UserError(f"the mix '{text}' needs positive, finite shares, as in syntax_knn:0.7+geography:0.3")
    total = math.fsum(shares.values())
    return {name: share / total for name, share in shares.items()}


def locales_with_data(feature_set: str, more: Iterable[str] = ()) -> tuple[str, ...]:
    """The locales of which every set of a mix knows something: the table's in its order, and `more`.

    A locale among `more` takes the place of the table's of the same language, unless that is among them too: so weights
    do not depend on whether data call English ``en`` or ``en-US``.

    Raises:
        UserError: as of `parse_mix`, or `more` has what is no language.
    """
    tags = _with_more(more)
    known = [~np.isnan(_table(name, tags)).all(axis=1) for name in parse_mix(feature_set)]
    return tuple(tag for tag, everywhere in zip(tags, np.all(known, axis=0), strict=True) if everywhere)
