"""Random splits, stratified by label, with parallel rows in the same split."""

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence

from mu_lightning.data.cldr_phrases import rank
from mu_lightning.data.corpus import Split

ALL_SHARES: dict[Split, float] = {"test": 0.2, "dev": 0.1}
DEV_SHARE: dict[Split, float] = {"dev": 0.1}

_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "dev": ("dev", "validation", "valid", "val", "development"),
    "test": ("test", "testing"),
}
_SPLIT_OF: dict[str, Split] = {name: split for split, names in _NAMES.items() for name in names}


def split_named(name: str) -> Split | None:
    """Returns the split of a name in a column or file name; None if it is not a split.

    >>> split_named("Validation"), split_named("en")
    ('dev', None)
    """
    return _SPLIT_OF.get(name.strip().lower())


def draw_splits(
    units: Sequence[Hashable],
    strata: Sequence[Hashable],
    shares: Mapping[Split, float],
    seed: int,
    fixed: Mapping[Hashable, Split] | None = None,
) -> list[Split]:
    """Assigns rows to random splits, reproducibly on every machine; the remaining rows are for training.

    Args:
        units: unit of each row; rows of a unit, such as translations, are in the same split.
        strata: label of each row; for units with several labels, the first one.
        shares: split -> share of the units of a stratum, 0 to 1. A stratum of at least 3 units is in every split.
        seed: random seed.
        fixed: units with a known split.
    """
    fixed = fixed or {}
    stratum_of: dict[Hashable, Hashable] = {}
    for unit, stratum in zip(units, strata, strict=True):
        if unit not in fixed:
            stratum_of.setdefault(unit, stratum)
    members = defaultdict(list)
    for unit, stratum in stratum_of.items():
        members[stratum].append(unit)
    found: dict[Hashable, Split] = dict(fixed)
    for among in members.values():
        among.sort(key=lambda unit: rank("split", seed, unit))
        start = 0
        for split, share in shares.items():
            count = max(round(share * len(among)), 1 if len(among) > len(shares) else 0)
            found.update(dict.fromkeys(among[start : start + count], split))
            start += count
        found.update(dict.fromkeys(among[start:], "train"))
    return [found[unit] for unit in units]
