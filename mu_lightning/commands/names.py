"""Argument types for names of a registry."""

from argparse import ArgumentTypeError
from collections.abc import Collection, Mapping

from mu_lightning.approaches.from_text.modes import MODES
from mu_lightning.approaches.registry import APPROACHES
from mu_lightning.commands.older_names import OLDER_BASELINES, OLDER_PREWEIGHTS
from mu_lightning.data.corpus import SPLITS
from mu_lightning.data.registry import CORPORA
from mu_lightning.experiments.presets import BASELINES
from mu_lightning.merging.registry import METHODS
from mu_lightning.models.poolings import POOLINGS
from mu_lightning.models.votes import VOTES
from mu_lightning.reporting.filtering import OLD_TYPES
from mu_lightning.typology.weightings import WEIGHTINGS
from mu_lightning.typology.weights import WEIGHT_SOURCES
from mu_lightning.utilities.errors import unknown


class UnknownNameError(ArgumentTypeError, ValueError):
    """An unknown name; argparse and jsonargparse show its message."""


class NameOf:
    """Type of an argument whose values are names of a registry.

    Args:
        kind: kind of the name, such as ``"vote"``.
        registry: valid names.
        older: older names -> current names.
    """

    def __init__(self, kind: str, registry: Collection[str], older: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.registry = registry
        self.older = older or {}

    def __call__(self, given: str) -> str:
        """Returns the name; raises UnknownNameError with suggestions for an unknown one."""
        name = self.older.get(given, given)
        if name not in self.registry:
            raise UnknownNameError(str(unknown(self.kind, str(given), self.registry)))
        return name

    def __repr__(self) -> str:
        return f"name of a {self.kind}"

    @property
    def names(self) -> str:
        """Lists all names, for the help."""
        return ", ".join(self.registry)


def with_names(meaning: str, registry: Collection[str]) -> str:
    """Adds the names of a registry to a help text, unless it has them."""
    if all(name in meaning for name in registry):
        return meaning
    return f"{meaning} Known: {', '.join(registry)}."


BASELINE = NameOf("baseline", BASELINES, OLDER_BASELINES)
CORPUS = NameOf("corpus", CORPORA)
EXPERIMENT_TYPE = NameOf("experiment type", (*APPROACHES, "model", *OLD_TYPES))
METHOD = NameOf("merge method", METHODS)
POOLING = NameOf("pooling", POOLINGS)
PREWEIGHT = NameOf("weight source", WEIGHT_SOURCES, OLDER_PREWEIGHTS)
SPLIT = NameOf("split", SPLITS)
TEXTS = NameOf("fisher data mode", MODES)
VOTE = NameOf("voting method", VOTES)
WEIGHTING = NameOf("weighting", WEIGHTINGS)
