"""Arguments that several commands share: which target, which sources, and what they weigh."""

from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import docstring_parser
from jsonargparse import Namespace

from mu_lightning.checkpoints import DEFAULT_MODELS_DIR, source_models
from mu_lightning.commands.names import CORPUS, PREWEIGHT, SPLIT, with_names
from mu_lightning.commands.parsing import OneLineErrors
from mu_lightning.data.registry import CORPORA
from mu_lightning.locales import LOCALES, locale_list
from mu_lightning.settings import SIMILARITY_SOURCES, CorpusSettings, DataSettings, TypologySettings
from mu_lightning.typology.features import FEATURE_SETS
from mu_lightning.typology.plan import SourcePlan, plan_sources
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    from mu_lightning.approaches.evaluation_context import Scoring
    from mu_lightning.experiments.workers import Workers


def add_source_arguments(
    parser: OneLineErrors, models_dir: Path | None = DEFAULT_MODELS_DIR, num_languages: int | None = 5
) -> None:
    """Adds the arguments that choose and weigh a target's sources; `plan_from` reads them.

    Args:
        parser: the command's parser.
        models_dir: default of ``--models-dir``; without one, every locale can be a source.
        num_languages: default of ``--num-languages``; None where the command decides.
    """
    add = parser.section("sources and weights")
    add("--target-lang", type=str | None, default=None, help="the locale that the sources are for, such as sq-AL")
    add(
        "--locales",
        type=str,
        nargs="+",
        default=None,
        help="the sources, separated by commas or spaces; without them the nearest available ones are taken",
    )
    most = "" if num_languages is not None else " (default: 5, or as many as the method merges)"
    add(
        "--num-languages",
        type=int if num_languages is not None else int | None,
        default=num_languages,
        help=f"so many sources are taken where --locales does not name them{most}",
    )
    add("--preweight", type=PREWEIGHT, default="uriel", help=f"where the sources' weights come from: {PREWEIGHT.names}")
    add(
        "--weights",
        type=str | dict[str, float] | None,
        default=None,
        help="the weights of --preweight manual: en-US=0.5,fr-FR=0.5",
    )
    add_typology_arguments(parser)
    add_models_arguments(parser, models_dir)
    add("--seed", type=int, default=0, help="decides what is left to chance, such as shuffled weights")


def add_typology_arguments(parser: OneLineErrors) -> None:
    """Adds the arguments that say how similarities become weights; `settings_from` reads them."""
    settings = TypologySettings()
    mix = f"{'+'.join(list(FEATURE_SETS)[:2])} or with shares syntax_knn:0.7+geography:0.3"
    add = parser.section("typology")
    add("--top-k", type=int, default=settings.top_k, help="neighbors that each locale keeps")
    add("--sinkhorn-iters", type=int, default=settings.sinkhorn_iters, help="rounds of normalizing rows, then columns")
    add(
        "--temperature",
        type=float,
        default=settings.temperature,
        help="below 1 the nearest sources weigh more, above 1 less: weights grow as s^(1 / temperature)",
    )
    add(
        "--similarity-source",
        choices=SIMILARITY_SOURCES,
        default=settings.similarity_source,
        help="compute the similarities from features (dense), or read --similarity-matrix (sparse)",
    )
    add(
        "--similarity-matrix",
        type=Path | None,
        default=None,
        help="the matrix for --similarity-source sparse, a CSV file as the command similarity writes it (default: "
        "language_similarity_matrix_unified.csv)",
    )
    add(
        "--feature-set",
        type=str,
        default=settings.feature_set,
        help=f"the features for --similarity-source dense: {', '.join(FEATURE_SETS)}; or a mix: {mix}",
    )


def add_models_arguments(parser: OneLineErrors, models_dir: Path | None = DEFAULT_MODELS_DIR) -> None:
    """Adds the arguments that say where source models are; `models_from` reads them."""
    add = parser.section("source models")
    add("--models-dir", type=Path | None, default=models_dir, help="folder of source models <base>_<corpus>_<locale>")
    add("--models-csv", type=Path | None, default=None, help="instead a list of them: locale, path or hub id")
    add(
        "--base",
        type=str | None,
        default=None,
        help="the encoder that the source models started from, its folder, hub id or name: of the models in "
        "--models-dir those of this base are taken",
    )


def add_corpus_arguments(parser: OneLineErrors, leave_out: Collection[str] = ()) -> None:
    """Adds an argument for each field of `CorpusSettings`; `corpus_from` reads them.

    Args:
        parser: the command's parser.
        leave_out: fields that the command adds itself.
    """
    helps = {
        one.arg_name: " ".join((one.description or "").split())
        for one in docstring_parser.parse_from_object(CorpusSettings).params
    }
    kinds = get_type_hints(CorpusSettings)
    add = parser.section("corpus")
    for one in fields(CorpusSettings):
        if one.name not in leave_out:
            flag = f"--{one.name.replace('_', '-')}"
            kind, meaning = kinds[one.name], helps[one.name].replace("`", "")
            if one.name == "corpus":
                kind, meaning = CORPUS, with_names(meaning, CORPORA)
            add(flag, type=kind, default=one.default, help=meaning)


def corpus_from(arguments: Namespace) -> CorpusSettings:
    """The corpus that a command's arguments name."""
    return CorpusSettings(**_corpus_values(arguments))


def _corpus_values(arguments: Namespace) -> dict[str, Any]:
    return {one.name: arguments[one.name] for one in fields(CorpusSettings)}


def add_scoring_arguments(parser: OneLineErrors) -> None:
    """Adds the arguments that say what is scored; `scoring_from` reads them."""
    defaults = DataSettings()
    add_corpus_arguments(parser)
    add = parser.section("scoring")
    add("--split", type=SPLIT, default="test", help=f"the rows to score: {SPLIT.names}")
    add("--batch-size", type=int, default=defaults.eval_batch_size, help="rows in one batch")
    add("--max-length", type=int, default=defaults.max_length, help="tokens after which an utterance is cut")


def add_worker_arguments(parser: OneLineErrors) -> None:
    """Adds the arguments that say where the work is done; `workers_from` reads them."""
    add = parser.section("compute")
    add("--max-workers", type=int | None, default=None, help="processes (default: one a GPU or core); 0: only this one")
    add_device_argument(parser)
    add("--ray", type=str | None, default=None, help="run on a Ray cluster: auto, local, or its address")


def add_device_argument(parser: OneLineErrors, default: str = "auto") -> None:
    """Adds ``--device``, which means the same on every command; how many devices train is ``--devices`` of `fit`."""
    parser.section("compute")("--device", type=str, default=default, help="where to compute: auto, cpu or cuda")


def scoring_from(arguments: Namespace) -> "Scoring":
    """What a command's arguments ask to be scored."""
    from mu_lightning.approaches.evaluation_context import Scoring

    return Scoring(
        **_corpus_values(arguments),
        split=arguments.split,
        batch_size=arguments.batch_size,
        max_length=arguments.max_length,
    )


def workers_from(arguments: Namespace) -> "Workers":
    """The workers that a command's arguments ask for; raises UserError where they cannot be had."""
    if arguments.ray is not None:
        from mu_lightning.experiments.ray_workers import RayWorkers

        return RayWorkers(arguments.ray, arguments.max_workers, arguments.device)
    from mu_lightning.experiments.workers import local_workers

    return local_workers(arguments.max_workers, arguments.device)


def settings_from(arguments: Namespace) -> TypologySettings:
    """The typology settings among a command's arguments."""
    return TypologySettings(
        similarity_source=arguments.similarity_source,
        similarity_matrix=arguments.similarity_matrix,
        feature_set=arguments.feature_set,
        top_k=arguments.top_k,
        sinkhorn_iters=arguments.sinkhorn_iters,
        temperature=arguments.temperature,
    )


def models_from(arguments: Namespace) -> dict[str, Path | str] | None:
    """The source models that exist, by locale; None where the arguments name no place for them.

    A command with the arguments ``--corpus`` and ``--base`` narrows the models by them.

    Raises:
        UserError: no model is there, or models of several kinds are.
    """
    if arguments.models_dir is None and arguments.models_csv is None:
        return None
    return source_models(
        arguments.models_dir, arguments.models_csv, corpus=arguments.get("corpus"), base=arguments.get("base")
    )


def plan_from(arguments: Namespace) -> SourcePlan:
    """The sources and weights that a command's arguments ask for.

    Raises:
        UserError: no target is named, or as of `plan_sources` and `models_from`.
    """
    if arguments.target_lang is None:
        raise UserError("no target is named: --target-lang sq-AL")
    models = models_from(arguments)
    return plan_sources(
        arguments.target_lang,
        available=tuple(LOCALES if models is None else models),
        locales=locale_list(arguments.locales),
        num_languages=arguments.num_languages,
        preweight=arguments.preweight,
        manual_weights=arguments.weights,
        settings=settings_from(arguments),
        seed=arguments.seed,
    )
