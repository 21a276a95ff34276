"""Names of a registry as an argument's values: what is registered can be asked for, and stands in the help."""

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
from mu_lightning.typology.weights import WEIGHT_SOURCES
from mu_lightning.utilities.errors import unknown


class UnknownNameError(ArgumentTypeError, ValueError):
    """A value that is no name of the registry; argparse and jsonargparse both show its message."""


class NameOf:
    """The type of an argument whose values are a registry's names.

    Args:
        kind: what a name names, such as ``"vote"``.
        registry: the names that are accepted.
        older: older names, each with the name that it stands for.
    """

    def __init__(self, kind: str, registry: Collection[str], older: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.registry = registry
        self.older = older or {}

    def __call__(self, given: str) -> str:
        """The name; raises UnknownNameError, with the nearest ones, for one that is not in the registry."""
        name = self.older.get(given, given)
        if name not in self.registry:
            raise UnknownNameError(str(unknown(self.kind, str(given), self.registry)))
        return name

    def __repr__(self) -> str:
        return f"name of a {self.kind}"

    @property
    def names(self) -> str:
        """Every name, for the help."""
        return ", ".join(self.registry)


def with_names(meaning: str, registry: Collection[str]) -> str:
    """An argument's help with a registry's names, where it does not mention them all already."""
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
