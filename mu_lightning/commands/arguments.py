"""Shared arguments of commands: target, sources, weights, models, corpus, workers."""

from collections.abc import Collection
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import docstring_parser
from jsonargparse import Namespace

from mu_lightning.checkpoints import DEFAULT_MODELS_DIR, source_models
from mu_lightning.commands.names import CORPUS, PREWEIGHT, SPLIT, WEIGHTING, with_names
from mu_lightning.commands.parsing import OneLineErrors
from mu_lightning.data.registry import CORPORA
from mu_lightning.locales import LOCALES, locale_list
from mu_lightning.settings import SIMILARITY_SOURCES, CorpusSettings, DataSettings, TypologySettings
from mu_lightning.settings.typology import DEFAULT_WEIGHTING, SINKHORN_ITERATIONS, TEMPERATURES
from mu_lightning.typology.features import FEATURE_SETS
from mu_lightning.typology.plan import SourcePlan, plan_sources
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    from mu_lightning.approaches.evaluation_context import Scoring
    from mu_lightning.experiments.workers import Workers


def add_source_arguments(
    parser: OneLineErrors, models_dir: Path | None = DEFAULT_MODELS_DIR, num_languages: int | None = 5
) -> None:
    """Adds arguments for selecting and weighting sources; see `plan_from`.

    Args:
        parser: parser of the command.
        models_dir: default of ``--models-dir``; without one, all locales are candidates.
        num_languages: default of ``--num-languages``; None if the command decides.
    """
    add = parser.section("sources and weights")
    add("--target-lang", type=str | None, default=None, help="target locale, such as sq-AL")
    add(
        "--locales",
        type=str,
        nargs="+",
        default=None,
        help="source locales, separated by commas or spaces (default: the most similar available ones)",
    )
    most = (
        ""
        if num_languages is not None
        else " (default: 5, or as many as the method merges; with --tune: 10 to choose from)"
    )
    add(
        "--num-languages",
        type=int if num_languages is not None else int | None,
        default=num_languages,
        help=f"number of sources to select if --locales is not given{most if num_languages is None else ''}",
    )
    add("--preweight", type=PREWEIGHT, default="uriel", help=f"weight source: {PREWEIGHT.names}")
    add(
        "--weights",
        type=str | dict[str, float] | None,
        default=None,
        help="weights for --preweight manual: en-US=0.5,fr-FR=0.5",
    )
    add_typology_arguments(parser)
    add_models_arguments(parser, models_dir)
    add("--seed", type=int, default=0, help="random seed, for shuffled weights and stochastic methods")


def add_typology_arguments(parser: OneLineErrors) -> None:
    """Adds arguments for similarity and weighting; see `settings_from`."""
    settings = TypologySettings()
    mix = f"{'+'.join(list(FEATURE_SETS)[:2])} or with shares syntax_knn:0.7+geography:0.3"
    add = parser.section("typology")
    add(
        "--weighting",
        type=WEIGHTING,
        default=None,
        help=f"how similarities become weights: {WEIGHTING.names} (default: {DEFAULT_WEIGHTING}, or sinkhorn with "
        "--sinkhorn-iters)",
    )
    add(
        "--temperature",
        type=float | None,
        default=None,
        help="lower temperatures favor the most similar sources: exp(s / temperature) for softmax, else "
        f"s^(1 / temperature) (default: {', '.join(f'{value:g} for {name}' for name, value in TEMPERATURES.items())})",
    )
    add(
        "--sinkhorn-iters",
        type=int | None,
        default=None,
        help=f"for --weighting sinkhorn: number of iterations (default: {SINKHORN_ITERATIONS})",
    )
    add(
        "--top-k",
        type=int,
        default=settings.top_k,
        help="number of nearest neighbors among which sources are selected, and that sinkhorn keeps of each locale",
    )
    add(
        "--similarity-source",
        choices=SIMILARITY_SOURCES,
        default=settings.similarity_source,
        help="compute similarities from features (dense), or read --similarity-matrix (sparse)",
    )
    add(
        "--similarity-matrix",
        type=Path | None,
        default=None,
        help="matrix for --similarity-source sparse, a CSV file written by the command similarity (default: "
        "language_similarity_matrix_unified.csv)",
    )
    add(
        "--feature-set",
        type=str,
        default=settings.feature_set,
        help=f"feature set for --similarity-source dense: {', '.join(FEATURE_SETS)}; or a mix: {mix}",
    )


def add_models_arguments(parser: OneLineErrors, models_dir: Path | None = DEFAULT_MODELS_DIR) -> None:
    """Adds arguments for locating source models; see `models_from`."""
    add = parser.section("source models")
    add("--models-dir", type=Path | None, default=models_dir, help="folder of source models <base>_<corpus>_<locale>")
    add("--models-csv", type=Path | None, default=None, help="alternatively, a CSV file with locale and path or hub id")
    add(
        "--base",
        type=str | None,
        default=None,
        help="base encoder of the source models: folder, hub id or name; selects models in --models-dir",
    )


def add_corpus_arguments(parser: OneLineErrors, leave_out: Collection[str] = ()) -> None:
    """Adds an argument for each field of `CorpusSettings`; see `corpus_from`.

    Args:
        parser: parser of the command.
        leave_out: fields to omit.
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
    """Returns the corpus settings of the arguments."""
    return CorpusSettings(**_corpus_values(arguments))


def _corpus_values(arguments: Namespace) -> dict[str, Any]:
    return {one.name: arguments[one.name] for one in fields(CorpusSettings)}


def add_scoring_arguments(parser: OneLineErrors) -> None:
    """Adds arguments for evaluation; see `scoring_from`."""
    defaults = DataSettings()
    add_corpus_arguments(parser)
    add = parser.section("scoring")
    add("--split", type=SPLIT, default="test", help=f"split to evaluate on: {SPLIT.names}")
    add("--batch-size", type=int, default=defaults.eval_batch_size, help="batch size")
    add(
        "--max-length",
        type=int,
        default=defaults.max_length,
        help="maximum number of tokens; longer utterances are truncated",
    )


def add_worker_arguments(parser: OneLineErrors) -> None:
    """Adds arguments for worker processes; see `workers_from`."""
    add = parser.section("compute")
    add(
        "--max-workers",
        type=int | None,
        default=None,
        help="number of worker processes (default: one per GPU or core); 0: none",
    )
    add_device_argument(parser)
    add("--ray", type=str | None, default=None, help="run on a Ray cluster: auto, local, or its address")


def add_device_argument(parser: OneLineErrors, default: str = "auto") -> None:
    """Adds ``--device``."""
    parser.section("compute")(
        "--device", type=str, default=default, help="device of the computation: auto, cpu or cuda"
    )


def scoring_from(arguments: Namespace) -> "Scoring":
    """Returns the evaluation settings of the arguments."""
    from mu_lightning.approaches.evaluation_context import Scoring

    return Scoring(
        **_corpus_values(arguments),
        split=arguments.split,
        batch_size=arguments.batch_size,
        max_length=arguments.max_length,
    )


def start_workers(arguments: Namespace) -> None:
    """Starts the server that workers are forked from, so that it imports beside this process."""
    if arguments.ray is None and arguments.max_workers != 0:
        from mu_lightning.experiments.processes import start_server

        start_server()


def workers_from(arguments: Namespace) -> "Workers":
    """Creates the workers of the arguments; raises UserError if they are not available."""
    if arguments.ray is not None:
        from mu_lightning.experiments.ray_workers import RayWorkers

        return RayWorkers(arguments.ray, arguments.max_workers, arguments.device)
    from mu_lightning.experiments.workers import local_workers

    return local_workers(arguments.max_workers, arguments.device)


def settings_from(arguments: Namespace) -> TypologySettings:
    """Returns the typology settings of the arguments."""
    return TypologySettings(
        similarity_source=arguments.similarity_source,
        similarity_matrix=arguments.similarity_matrix,
        feature_set=arguments.feature_set,
        top_k=arguments.top_k,
        weighting=arguments.weighting,
        temperature=arguments.temperature,
        sinkhorn_iters=arguments.sinkhorn_iters,
    )


def models_from(arguments: Namespace) -> dict[str, Path | str] | None:
    """Finds source models by locale; None without a folder or list.

    ``--corpus`` and ``--base`` restrict the models.

    Raises:
        UserError: no models, or models of several kinds.
    """
    if arguments.models_dir is None and arguments.models_csv is None:
        return None
    return source_models(
        arguments.models_dir, arguments.models_csv, corpus=arguments.get("corpus"), base=arguments.get("base")
    )


def plan_from(arguments: Namespace) -> SourcePlan:
    """Returns the source plan of the arguments.

    Raises:
        UserError: no target is given; see `plan_sources` and `models_from`.
    """
    if arguments.target_lang is None:
        raise UserError("no target is given: set --target-lang, such as sq-AL")
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
