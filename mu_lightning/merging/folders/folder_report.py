"""Model card, ``merge_details.txt`` and ``merge_details.json`` of a merged model."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mu_lightning import __version__
from mu_lightning.merging.folders.folder_plan import FolderPlan
from mu_lightning.merging.method import Method
from mu_lightning.merging.recipes.reading import recipe_of
from mu_lightning.utilities.files import write_json, write_text
from mu_lightning.utilities.tables import markdown_text
from mu_lightning.utilities.yaml_files import dump_yaml

DETAILS = "merge_details"
RECIPE = "merge_recipe.yaml"
_HEADLINES = ("mode", "method", "target", "preweight", "base", "supervision", "seed", "date", "version")
_URIEL = "- weights: Littell et al., URIEL and lang2vec, 2017, https://aclanthology.org/E17-2002"
_SEEN = {
    "none": "none",
    "source-dev": "none (tuned on labels of the sources' dev splits)",
    "target-unlabelled": "unlabeled text",
    "target-dev-labels": "labels of the dev split",
}
_NOT_A_RECIPE = {"date", "version", "paper", "url"}
_SHOWN_APART = {*_HEADLINES, "sources", "paper", "url", "recipe"}


def write_report(output: Path, plan: FolderPlan, extra: Mapping[str, Any]) -> None:
    """Writes README.md, merge_details.txt, merge_details.json and merge_recipe.yaml into `output`.

    Args:
        output: output folder.
        plan: the merge.
        extra: further metadata. ``mode``, ``target``, ``preweight``, ``similarities`` (source name -> number),
            ``supervision``, ``data`` (texts used for statistics) and ``origins`` (source name, or ``base`` -> hub id)
            have dedicated fields; other keys are appended.
    """
    details = merge_details(plan, extra)
    write_details(output, plan.job.method, details)
    write_text(output / RECIPE, dump_yaml(details["recipe"]))


def write_details(output: Path, method: Method, details: Mapping[str, Any]) -> None:
    """Writes README.md, merge_details.txt and merge_details.json into `output`.

    Args:
        output: output folder.
        method: the merge method.
        details: result of `merge_details`; a source without a ``model`` was trained in the same run.
    """
    details = {
        "version": f"mu-lightning {__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **details,
    }
    details |= {"method": method.name, "paper": method.paper, "url": method.url}
    write_json(output / f"{DETAILS}.json", details)
    write_text(output / f"{DETAILS}.txt", details_text(details))
    write_text(output / "README.md", model_card(method, details))


def merge_details(plan: FolderPlan, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Collects the metadata of a merge. Folders are given by name: absolute paths are private."""
    job, extra = plan.job, dict(extra)
    similarities, origins = extra.pop("similarities", None) or {}, extra.pop("origins", None) or {}
    sources = [
        {"source": name, "model": origins.get(name, plan.folders[name].path.resolve().name), "weight": weight}
        | ({"similarity": similarities[name]} if name in similarities else {})
        for name, weight in zip(job.names, job.weights, strict=True)
    ]
    base = None if plan.base is None else origins.get("base", plan.base.path.resolve().name)
    details = {
        "mode": extra.pop("mode", job.method.name),
        "method": job.method.name,
        "target": extra.pop("target", None),
        "preweight": extra.pop("preweight", None),
        "sources": sources,
        "base": base,
        "parameters": dataclasses.asdict(job.parameters),
        "overrides": [
            {key: value for key, value in dataclasses.asdict(override).items() if value} for override in job.overrides
        ],
        "averaged_without_base": sorted(job.missing_in_base),
        "seed": job.seed if job.method.random else None,
        **extra,
        "recipe": recipe_of(
            job,
            {source["source"]: source["model"] for source in sources},
            base,
            plan.dtype,
            extra.get("data"),
        ),
    }
    return {key: value for key, value in details.items() if value not in (None, [], {})}


def details_text(details: Mapping[str, Any]) -> str:
    """Formats the metadata of a merge as text."""
    lines = ["--- Merge details ---", ""]
    for key in _HEADLINES:
        if key in details:
            lines.append(f"{key.capitalize()}: {details[key]}")
    lines += ["", "--- Merged models and weights ---", ""]
    total = sum(source["weight"] for source in details["sources"])
    for number, source in enumerate(details["sources"], 1):
        share = f" ({source['weight'] / total:.2%} of the total)" if total else ""
        lines += [f"{number}. {source['source']}"]
        lines += [f"   Model: {source['model']}"] if "model" in source else []
        lines += [f"   Weight: {source['weight']:.6f}{share}"]
        lines += [f"   Similarity: {source['similarity']:.6f}"] if "similarity" in source else []
    for key, value in details.items():
        if key not in _SHOWN_APART:
            lines += ["", f"--- {key.capitalize().replace('_', ' ')} ---", "", *_listed(value)]
    return "\n".join([*lines, "", f"Paper: {details['paper']}, {details['url']}", ""])


def model_card(method: Method, details: Mapping[str, Any]) -> str:
    """Builds the model card: hub metadata, weights, recipe and citations."""
    models = [source["model"] for source in details["sources"] if "model" in source]
    metadata = {
        "base_model": list(dict.fromkeys([*models, *([details["base"]] if "base" in details else [])])),
        "base_model_relation": "merge",
        "library_name": "transformers",
        "tags": ["merge", "model-merging", "mu-lightning", method.name],
    }
    target = f" for {markdown_text(details['target'])}" if "target" in details else ""
    seen = details.get("supervision", "")
    rows = [
        f"| {markdown_text(source['source'])} | {markdown_text(source.get('model', 'trained in this run'))} | "
        f"{source['weight']:.6f} | " + (f"{source['similarity']:.6f} |" if "similarity" in source else "|")
        for source in details["sources"]
    ]
    recipe = details.get("recipe") or {key: value for key, value in details.items() if key not in _NOT_A_RECIPE}
    return "\n".join(
        [
            "---",
            dump_yaml(metadata).rstrip(),
            "---",
            "",
            f"# Merged model{target}: {method.name}",
            "",
            f"Merged with mu-lightning {__version__} from {len(rows)} models: {method.summary}.",
            *([f"Target data used: {_SEEN[seen]} (`{seen}`)."] if seen in _SEEN else []),
            "",
            "| source | model | weight | similarity |",
            "|---|---|---|---|",
            *rows,
            "",
            "## Recipe",
            "",
            "```yaml",
            dump_yaml(recipe).rstrip(),
            "```",
            "",
            "## Citation",
            "",
            f"- {method.name}: {method.paper}, {method.url}",
            *([_URIEL] if details.get("preweight") in ("uriel", "shuffled") else []),
            "",
        ]
    )


def _listed(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{key}: {item}" for key, item in value.items()]
    if isinstance(value, list):
        return [f"- {item}" for item in value]
    return [str(value)]
