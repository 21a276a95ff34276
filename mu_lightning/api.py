"""High-level functions of the Python API."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mu_lightning.locales import LOCALES
from mu_lightning.settings import TypologySettings
from mu_lightning.typology.plan import plan_sources
from mu_lightning.utilities.errors import UserError

if TYPE_CHECKING:
    import pandas

    from mu_lightning.approaches.base import Approach
    from mu_lightning.approaches.problem import Problem
    from mu_lightning.experiments.workers import Workers


def source_weights(
    target: str,
    sources: Sequence[str] | None = None,
    *,
    num_languages: int = 5,
    preweight: str = "uriel",
    weights: Mapping[str, float] | str | None = None,
    seed: int = 0,
    **typology: Any,
) -> dict[str, float]:
    """Computes merge weights of the sources of a target: source -> weight, summing to 1.

    Args:
        target: target locale, such as ``"sq-AL"``.
        sources: source locales; default: the `num_languages` most similar ones.
        num_languages: number of sources to select.
        preweight: weight source: ``uriel``, ``equal``, ``manual`` or ``shuffled``.
        weights: weights for ``manual``.
        seed: random seed, for ``shuffled``.
        typology: fields of `TypologySettings`, such as ``feature_set`` or ``top_k``.

    Raises:
        UserError: see `plan_sources`.
    """
    plan = plan_sources(
        target,
        available=LOCALES,
        locales=sources,
        num_languages=num_languages,
        preweight=preweight,
        manual_weights=weights,
        settings=TypologySettings(**typology),
        seed=seed,
    )
    return plan.weights


class Results:
    """A folder of results: of sweeps, of `fit`, of `ensemble`.

    Args:
        folder: everything below it is read.

    Raises:
        UserError: there is no such folder, or it holds no results.
    """

    def __init__(self, folder: str | Path) -> None:
        from mu_lightning.results.store import read_store

        self.folder = Path(folder)
        self._store = read_store(self.folder)

    @cached_property
    def table(self) -> "pandas.DataFrame":
        """All results, one a row: target, name, approach and its parameters, seed, accuracy with its interval, cost."""
        return self._store.table()

    @property
    def failed(self) -> dict[Path, str]:
        """Folder of each cell that failed -> the error."""
        return {failure.folder: failure.error for failure in self._store.failed}

    def __repr__(self) -> str:
        return f"Results({str(self.folder)!r}): {len(self._store.cells)} results, {len(self._store.failed)} failed"


def sweep(
    problems: "Problem | Sequence[Problem]",
    approaches: "Approach | Sequence[Approach]",
    folder: str | Path,
    *,
    seeds: Sequence[int] = (0,),
    models: Mapping[str, str | Path] | None = None,
    workers: "Workers | None" = None,
) -> Results:
    """Runs problems by approaches by seeds; what is in the folder already is not run again.

    Args:
        problems: what is to be solved.
        approaches: how.
        folder: where results go.
        seeds: random seeds, for training and stochastic methods.
        models: source -> model folder or hub id, for approaches without a `Training`; all others train what they need.
        workers: where to compute; by default one process for each core or GPU.

    Raises:
        UserError: whatever would make a result fail that can be known before; or results failed, the others are kept.
    """
    from mu_lightning.approaches.base import Approach
    from mu_lightning.approaches.problem import Problem
    from mu_lightning.experiments.grid import Grid
    from mu_lightning.experiments.sweep import plan_sweep, run_sweep
    from mu_lightning.experiments.workers import local_workers
    from mu_lightning.utilities.locks import locked

    wanted = [problems] if isinstance(problems, Problem) else list(problems)
    ways = [approaches] if isinstance(approaches, Approach) else list(approaches)
    place = Path(folder)
    with locked(place):
        planned = plan_sweep(Grid(wanted, ways, tuple(seeds)), place, models=models)
        failures = run_sweep(planned, workers or local_workers())
    if failures:
        first = planned.place(failures[0]) / "error.json"
        raise UserError(f"{len(failures)} of {len(planned.cells)} results failed, the others are kept: see {first}")
    return Results(place)
