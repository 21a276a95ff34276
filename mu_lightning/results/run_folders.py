"""What the run folders of `fit`, `test`, `validate` and `ensemble` hold, in the terms of the results store."""

import re
from collections.abc import Mapping
from typing import Any

# Names of members, and of a result.
POOLED, WITHOUT = "multilingual", "without-"
JOINT_RESULT = "joint multilingual"
_ONE_SHOT = re.compile(r"merged once, (equal|URIEL|shuffled URIEL) weights")
_PREWEIGHTS = {"equal": "equal", "URIEL": "uriel", "shuffled URIEL": "shuffled"}


def cells_of_run(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A description for each result of a ``results.json`` without one: of a run of `fit`, `test` or `validate`.

    Args:
        record: the file's content.
    """
    config = record.get("config") or {}
    data, merging = config.get("data") or {}, config.get("merge") or {}
    verb = record.get("verb", "")
    shared = {
        "corpus": data.get("corpus"),
        "split": "dev" if verb == "validate" else "test",
        "base": (config.get("model") or {}).get("base"),
        "seed": record.get("seed"),
    }
    if shared["base"]:
        shared["base"] = str(shared["base"]).rstrip("/").rpartition("/")[2]
    has_target = bool(config.get("target_lang") or config.get("target_languages"))
    plan = (config.get("preweight"), merging.get("method"))
    return [shared | _described(result, verb, has_target, *plan) for result in record["results"]]


def _described(
    result: Mapping[str, Any], verb: str, has_target: bool, preweight: str | None, method: str | None
) -> dict[str, Any]:
    name, weights = result["name"], result.get("weights") or {}
    used = {"sources": list(weights), "weights": weights, "num_languages": len(weights) or None}
    once = _ONE_SHOT.fullmatch(name)
    if verb != "fit":
        return {"experiment_type": "model"}
    if name in (JOINT_RESULT, POOLED) or name.startswith(WITHOUT):
        return {"experiment_type": "baseline", "method": "joint"}
    if not has_target or name.startswith("source "):  # of a run without merges its members are scored alone
        return {"experiment_type": "source", "sources": [name.removeprefix("source ")], "num_languages": 1}
    if name == "iterative merging":
        return {"experiment_type": "iterative", "method": method, "preweight": preweight, **used}
    if once:
        return {"experiment_type": "merge", "method": method, "preweight": _PREWEIGHTS[once[1]], **used}
    if name.startswith("ensemble, "):
        vote = name.removeprefix("ensemble, ")
        return {"experiment_type": "ensemble", "preweight": preweight, "vote": vote, **used}
    if name.startswith("best source ("):
        best = name.removeprefix("best source (").rstrip(")")
        return {"experiment_type": "baseline", "method": "best_source", "sources": [best], "num_languages": 1}
    return {"experiment_type": "baseline", "method": name}
