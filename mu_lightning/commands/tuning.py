"""Choices of `merge` without labels of the target: ``--tune sources``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from mu_lightning.approaches.tuned import POOL, Tuned
from mu_lightning.commands.arguments import models_from, settings_from
from mu_lightning.locales import locale_list
from mu_lightning.settings import TUNE, CorpusSettings, DataSettings
from mu_lightning.typology.plan import SourcePlan
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    from mu_lightning.approaches.one_shot import OneShot
    from mu_lightning.approaches.tuning.tune import Tuning

# Arguments whose values are chosen.
CHOSEN = (
    *("merge_method", "mode", "parameters", "overrides", "param_value_mask_rate"),
    *("preweight", "preweights", "weights", "weighting", "temperature", "sinkhorn_iters"),
    *("voting_method", "voting_methods"),
)


@dataclass(frozen=True)
class TunedMerge:
    """What was chosen for a merge: the sources with their weights, the approach, and everything that was tried."""

    sources: SourcePlan
    approach: "OneShot"
    tuning: "Tuning"


def add_tune_argument(add: Any) -> None:
    """Adds ``--tune``."""
    add(
        "--tune",
        choices=TUNE,
        default=None,
        help="choose method, scale, weights, vote and number of sources without labels of the target: each source in "
        "turn is left out and its dev split scored",
    )


def refuse_chosen(arguments: Namespace, defaults: Namespace) -> None:
    """Raises UserError if a value is given that tuning chooses."""
    given = [name for name in CHOSEN if arguments.get(name) != defaults.get(name)]
    if given:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UserError(f"--tune chooses what {flags} {'sets' if len(given) == 1 else 'set'}: give one or the other")


def tuned(arguments: Namespace, space: str) -> Tuned:
    """The approach that the arguments ask for; ``--num-languages`` is the number of sources to choose from."""
    return Tuned(num_languages=arguments.num_languages or POOL, typology=settings_from(arguments), space=space)


def pool_of(arguments: Namespace, space: str, models: Mapping[str, Any]) -> SourcePlan:
    """The sources to choose from.

    Raises:
        UserError: no target, sources without a model, or too few sources to leave one out.
    """
    from mu_lightning.approaches.problem import Problem

    if arguments.target_lang is None:
        raise UserError("no target is given: set --target-lang, such as sq-AL")
    given = locale_list(arguments.locales)
    missing = [tag for tag in given or () if tag not in models]
    if missing:
        raise UserError(f"no source model for {', '.join(missing)}; available: {', '.join(sorted(models)) or 'none'}")
    problem = Problem(arguments.target_lang, sources=None if given is None else tuple(given))
    pool = tuned(arguments, space).choose(problem, tuple(models), arguments.seed)
    assert pool is not None
    return pool


def tune_merge(arguments: Namespace, defaults: Namespace, base: Any) -> TunedMerge:
    """Chooses a merge for the target of the arguments, and prints what was tried.

    Args:
        arguments: arguments of `merge`.
        defaults: their defaults.
        base: model folders of the sources -> the base model, or None.

    Raises:
        UserError: a given value that tuning chooses, no target, too few sources, or sources without labeled dev rows.
    """
    from mu_lightning.approaches.evaluation_context import Scoring, prepare, with_dev
    from mu_lightning.approaches.one_shot import OneShot
    from mu_lightning.approaches.problem import Problem
    from mu_lightning.approaches.tuning.tune import tune, tuning_table
    from mu_lightning.merging.folders.hub_folders import local_folder
    from mu_lightning.results.model_records import recorded_corpus

    refuse_chosen(arguments, defaults)
    models, approach = models_from(arguments) or {}, tuned(arguments, "merge")
    pool = pool_of(arguments, "merge", models)
    folders = {tag: local_folder(models[tag]) for tag in pool.sources}
    values = {name: arguments[name] for name in CorpusSettings().corpus_values()}
    data = DataSettings(**values | {"corpus": arguments.corpus or recorded_corpus(folders)})
    problem = Problem(pool.target, data, sources=pool.sources, split="dev")
    scoring = Scoring(**data.corpus_values(), split="dev")
    context = prepare(scoring, folders, [], base=base(folders), device=_device(arguments.device))
    tuning = tune(
        problem,
        pool.similarities,
        approach.space,
        approach.typology,
        with_dev(context, problem, pool.sources),
        seed=arguments.seed,
        shown=True,
    )
    print(tuning_table(pool.target, tuning.plain()), flush=True)
    chosen = tuning.chosen
    assert isinstance(chosen, OneShot)
    sources = chosen.choose(problem, pool.sources, arguments.seed)
    assert sources is not None
    return TunedMerge(sources, chosen, tuning)


def _device(asked: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked
