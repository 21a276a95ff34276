"""The text of ``merge_details.txt`` for a merge's cell."""

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mu_lightning import __version__
from mu_lightning.approaches.base import Cell
from mu_lightning.approaches.one_shot import OneShot
from mu_lightning.merging.folders.folder_report import details_text
from mu_lightning.merging.method_parameters import build_parameters


def merge_details(cell: Cell, given: Mapping[str, Path | str]) -> str:
    """What was merged and how. Folders go by name.

    Args:
        cell: a merge made once.
        given: source -> model folder or hub id, where models are given.
    """
    approach = cell.approach
    assert isinstance(approach, OneShot)
    assert cell.plan is not None
    method = approach.merge_method
    preweight = approach.preweight if method.takes_weights else None
    details: dict[str, Any] = {
        "version": f"mu-lightning {__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "mode": f"{preweight}, {method.name}" if preweight else method.name,
        "method": method.name,
        "target": cell.target,
        "preweight": preweight,
        "base": Path(cell.problem.base).name if method.sees_base or approach.needs_base else None,
        "seed": cell.seed,
        "sources": [
            {
                "source": name,
                "model": Path(given[name]).name if name in given else f"trained with seed {cell.seed}",
                "weight": cell.weights[name],
                "similarity": cell.plan.similarities[name],
            }
            for name in cell.sources
        ],
        "parameters": dataclasses.asdict(build_parameters(method, approach.parameters, cell.sources)),
        "paper": method.paper,
        "url": method.url,
    }
    return details_text({key: value for key, value in details.items() if value not in (None, {})})
