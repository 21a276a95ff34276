"""The command `merge`: merges source models for a target, without training."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from mu_lightning.approaches.from_text.modes import DEFAULT_MODES
from mu_lightning.commands.arguments import models_from, plan_from
from mu_lightning.commands.merge_arguments import ENGINES, FISHER_EXAMPLES, parser
from mu_lightning.locales import locale
from mu_lightning.merging.recipes.modes import resolve, with_dropping
from mu_lightning.merging.registry import find_method
from mu_lightning.settings import CorpusSettings
from mu_lightning.typology.plan import table
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import reserved, write_json
from mu_lightning.utilities.resources import resource

if TYPE_CHECKING:
    from mu_lightning.approaches.from_text.merge_data import MergeTexts
    from mu_lightning.merging.folders.folder_plan import FolderPlan
    from mu_lightning.merging.method import Method

NUM_LANGUAGES = 5
TUNING = "tuning"
Planned = tuple["FolderPlan", dict[str, Any], "MergeTexts | None"]


def run(argv: list[str]) -> int:
    """Merges and prints the output folder; returns the exit status.

    Raises:
        UserError: see `plan_from`, `read_recipe` and `merge_folders`; or contradicting arguments.
    """
    arguments = parser().parse_args(argv)
    if arguments.list_methods:
        from mu_lightning.merging.listing import list_methods

        print(list_methods())
        return 0
    if arguments.push_to_hub and not arguments.dry_run:
        from mu_lightning.merging.folders.hub_folders import check_upload

        check_upload(arguments.push_to_hub)
    plan, details, texts = _from_recipe(arguments) if arguments.recipe else _from_target(arguments)
    if arguments.dry_run or arguments.recipe:
        print(plan.describe())
    else:
        for note in plan.notes:
            print(note)
    if texts is not None:
        print(texts.describe())
    if arguments.dry_run:
        return 0
    from mu_lightning.training.checkpointing.signals import terminable

    with reserved(plan.output, "a model"), terminable():
        _merge(plan, details, texts)
    print(f"merged model: {plan.output}")
    if arguments.push_to_hub:
        from mu_lightning.merging.folders.hub_folders import upload

        print(f"uploaded to: {upload(plan.output, arguments.push_to_hub)}")
    return 0


def _merge(plan: "FolderPlan", details: dict[str, Any], texts: "MergeTexts | None") -> None:
    from dataclasses import replace

    from mu_lightning.merging.folders.streaming import run_plan

    if texts is None:
        tuning = details.pop(TUNING, None)
        run_plan(plan, details={"supervision": "none", **details})
        if tuning is not None:
            write_json(plan.output / f"{TUNING}.json", tuning)
        return
    from mu_lightning.approaches.from_text.merge_statistics import collected, mean_coefficients

    details = {"supervision": texts.data.supervision, "data": texts.data.recorded(), **details}
    with collected(plan, texts) as statistics:
        if plan.job.method.name == "adamerging":
            details["coefficients"] = mean_coefficients(statistics)
        run_plan(replace(plan, statistics=statistics), details=details)


def _from_target(arguments: Namespace) -> Planned:
    """Plans the merge for a target, with metadata for the model card."""
    from mu_lightning.merging.engine.job import needs_base
    from mu_lightning.merging.recipes.command_line import parse_overrides, parse_parameters

    if arguments.tune:
        return _tuned(arguments)
    arguments.preweight, method = resolve(arguments.mode, arguments.merge_method, arguments.preweight)
    parameters = parse_parameters(arguments.parameters)
    if arguments.param_value_mask_rate is not None:
        method, parameters = with_dropping(method, arguments.param_value_mask_rate, parameters)
    found = find_method(method)  # report unknown methods first
    if arguments.num_languages is None:
        arguments.num_languages = min(NUM_LANGUAGES, found.max_sources or NUM_LANGUAGES)
    sources = plan_from(arguments)
    print(table(sources))
    if not found.takes_weights and len(sources.sources) > 1:
        print(f"{method} determines weights itself: the given weights affect averaged tensors only")
    from mu_lightning.merging.folders.folder_plan import plan_folders
    from mu_lightning.merging.folders.hub_folders import local_folder

    models = models_from(arguments) or {}
    folders = {tag: local_folder(models[tag]) for tag in sources.sources}
    overrides = parse_overrides(arguments.overrides)
    base = _base(arguments, folders, needs_base(found, parameters, overrides))
    plan = plan_folders(
        _with_engine(arguments, method),
        folders,
        sources.weights,
        arguments.output_dir or Path("merged") / f"{method}_{sources.preweight}_{sources.target}",
        base=None if base is None else local_folder(base),
        parameters=parameters,
        overrides=overrides,
        statistics={} if found.needs_statistics else None,
        dtype=arguments.dtype,
        seed=arguments.seed,
        device=arguments.device,
        max_shard_size=_shard_size(arguments),
    )
    details = {
        "mode": arguments.mode or f"{sources.preweight}, {method}",
        "target": sources.target,
        "preweight": sources.preweight,
        "similarities": sources.similarities,
        "origins": _origins({tag: models[tag] for tag in sources.sources}, base),
        "typology": sources.details()["settings"],
        "engine": arguments.engine,
    }
    return plan, details, _texts(arguments, plan, {"target": sources.target})


def _tuned(arguments: Namespace) -> Planned:
    """Plans the merge that is chosen on the sources."""
    from mu_lightning.commands.tuning import tune_merge
    from mu_lightning.merging.folders.folder_plan import plan_folders
    from mu_lightning.merging.folders.hub_folders import local_folder

    if arguments.engine != ENGINES[0]:
        raise UserError(f"--tune chooses among merges of this program, not of --engine {arguments.engine}")
    found = tune_merge(arguments, parser().get_defaults(), lambda folders: _base(arguments, folders, True))
    sources, chosen = found.sources, found.approach
    print(table(sources))
    models = models_from(arguments) or {}
    folders = {tag: local_folder(models[tag]) for tag in sources.sources}
    base = _base(arguments, folders, chosen.needs_base)
    plan = plan_folders(
        chosen.method,
        folders,
        sources.weights,
        arguments.output_dir or Path("merged") / f"tuned_{sources.target}",
        base=None if base is None else local_folder(base),
        parameters=chosen.parameters,
        dtype=arguments.dtype,
        seed=arguments.seed,
        device=arguments.device,
        max_shard_size=_shard_size(arguments),
    )
    details = {
        "mode": f"tuned on {arguments.tune}",
        "target": sources.target,
        "preweight": sources.preweight,
        "similarities": sources.similarities,
        "origins": _origins({tag: models[tag] for tag in sources.sources}, base),
        "typology": sources.details()["settings"],
        "engine": arguments.engine,
        "supervision": "source-dev",
        "tuned_on": {tag: round(weight, 6) for tag, weight in found.tuning.weights.items()},
        TUNING: found.tuning.plain(),
    }
    return plan, details, None


def _base(arguments: Namespace, folders: Mapping[str, Path], needed: bool) -> str | None:
    """Returns the base model: the given one, or for a name the one in the training details of the sources."""
    given = arguments.base_model or arguments.base
    if given is not None and (arguments.base_model or "/" in given or resource(given).is_dir()):
        return str(given)
    if not needed:
        return None
    from mu_lightning.results.model_records import recorded_base

    base = recorded_base(folders)
    if given is not None and Path(base).name != given:
        raise UserError(f"--base is {given}, but the sources' training details name {base}: give a folder or a hub id")
    print(f"base model: {base} (from the training details of the sources)")
    return base


def _from_recipe(arguments: Namespace) -> Planned:
    """Plans the merge of a recipe, with metadata for the model card."""
    for name in (
        "tune",
        "target_lang",
        "merge_method",
        "mode",
        "parameters",
        "overrides",
        "preweight",
        "base",
        "base_model",
    ):
        if getattr(arguments, name) is not None:
            raise UserError(f"--recipe and --{name.replace('_', '-')} are mutually exclusive")
    for name in ("locales", "weights", "num_languages", "param_value_mask_rate"):
        if getattr(arguments, name) is not None:
            raise UserError(f"--recipe and --{name.replace('_', '-')} are mutually exclusive")
    from mu_lightning.merging.folders.folder_plan import plan_folders
    from mu_lightning.merging.recipes.reading import read_recipe

    recipe = read_recipe(arguments.recipe)
    plan = plan_folders(
        _with_engine(arguments, recipe.method),
        {name: _folder(model, arguments.models_dir) for name, model in recipe.models.items()},
        recipe.weights,
        arguments.output_dir or Path("merged") / arguments.recipe.stem,
        base=None if recipe.base is None else _folder(recipe.base, arguments.models_dir),
        parameters=recipe.parameters,
        overrides=recipe.overrides,
        statistics={} if find_method(recipe.method).needs_statistics else None,
        dtype=arguments.dtype or recipe.dtype,
        seed=recipe.seed,
        device=arguments.device,
        max_shard_size=_shard_size(arguments),
    )
    details = {"mode": "recipe", "origins": _origins(recipe.models, recipe.base), "engine": arguments.engine}
    return plan, details, _texts(arguments, plan, recipe.data)


def _texts(arguments: Namespace, plan: "FolderPlan", data: Mapping[str, Any]) -> "MergeTexts | None":
    """Returns the texts for the method, if needed; flags override the recipe."""
    plain = CorpusSettings().corpus_values()
    flags = {
        "mode": arguments.fisher_data_mode,
        "examples": arguments.num_fisher_examples,
        **{name: arguments[name] for name in plain if name != "corpus" and arguments[name] != plain[name]},
    }
    given = {name: value for name, value in flags.items() if value is not None}
    name = plan.job.method.name
    if "target" in data:
        locale(data["target"])
    if not plan.job.method.needs_statistics:
        if given or data.keys() - {"target"}:
            raise UserError(
                f"{name} does not use text: remove --fisher-data-mode, --num-fisher-examples, --data-dir and data in "
                "the recipe"
            )
        return None
    from mu_lightning.approaches.from_text.merge_data import MergeData, MergeTexts
    from mu_lightning.results.model_records import recorded_corpus

    corpus = arguments.corpus or data.get("corpus") or recorded_corpus({k: v.path for k, v in plan.folders.items()})
    known = {"mode": DEFAULT_MODES.get(name, "target"), "examples": FISHER_EXAMPLES, **data, **given, "corpus": corpus}
    return MergeTexts(MergeData(**known), plan)


def _shard_size(arguments: Namespace) -> int:
    from mu_lightning.merging.recipes.command_line import parse_bytes

    return parse_bytes(arguments.max_shard_size, "--max-shard-size")


def _folder(model: str, models_dir: Path | None) -> Path:
    """Resolves a model of a recipe: a folder, a hub id, or a folder name in --models-dir."""
    from mu_lightning.merging.folders.hub_folders import local_folder

    if "/" not in model and not resource(model).is_dir():
        for place in (models_dir or Path(), resource(Path("checkpoints") / model).parent):
            if (place / model).is_dir():
                return place / model
        raise UserError(f"no model folder at {model}, and none of that name in {models_dir}: name it by --models-dir")
    return local_folder(model)


def _with_engine(arguments: Namespace, method: str) -> "str | Method":
    if arguments.engine == ENGINES[0]:
        return method
    from mu_lightning.merging.recipes.auto_merge_llm import through_library

    return through_library(method)


def _origins(models: Mapping[str, Path | str], base: str | Path | None) -> dict[str, str]:
    """Returns the hub ids among the models."""
    every = dict(models) | ({} if base is None else {"base": base})
    return {name: str(model) for name, model in every.items() if "/" in str(model) and not resource(model).is_dir()}
