"""A grid: problems by approaches by seeds, checked, and the cells that it comes to.

What cannot differ is one cell: an approach that neither trains nor draws has the first seed alone.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mu_lightning.approaches.base import Approach, Cell, Training
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.single import TARGET, Single
from mu_lightning.locales import locale
from mu_lightning.utilities.errors import UserError

Alone = Literal["none", "used", "all"]


@dataclass(frozen=True)
class Grid:
    """What is asked of a sweep.

    Attributes:
        problems: what is to be solved; they differ in targets and sources alone.
        approaches: how.
        seeds: of trainings, and of what is drawn.
        alone: which source models are scored as they are, too: those ``used``, or ``all``.
        training: of those models; None: they are given.
    """

    problems: Sequence[Problem]
    approaches: Sequence[Approach]
    seeds: Sequence[int] = (0,)
    alone: Alone = "none"
    training: Training | None = None


def check_grid(grid: Grid) -> None:
    """Checks every name and number of a grid.

    Raises:
        UserError: an unknown name, with the nearest ones; a number out of range; a target named twice; no cells.
    """
    if not grid.problems:
        raise UserError("no targets: name them with --target-languages")
    targets = [problem.target for problem in grid.problems]
    for place, tag in enumerate(targets):
        locale(tag)
        if tag in targets[:place]:
            raise UserError(f"the target {tag} is named twice")
    first = grid.problems[0]
    if any(replace(problem, target=first.target, sources=first.sources) != first for problem in grid.problems):
        raise UserError("the problems of a sweep differ in targets and sources alone: sweep each corpus by itself")
    for tag in {tag for problem in grid.problems for tag in problem.sources or ()}:
        locale(tag)
    if not (grid.approaches or grid.alone != "none"):
        raise UserError("nothing to sweep over: name approaches, methods, modes, voting methods or baselines")
    if not grid.seeds or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in grid.seeds):
        raise UserError(f"seeds must be whole numbers of at least 0, not {list(grid.seeds)}")
    for approach in grid.approaches:
        approach.check()


def expand(grid: Grid, available: Collection[str]) -> list[Cell]:
    """The cells of a checked grid, target by target.

    Args:
        grid: what is asked.
        available: the locales that can be sources: those with a model, or with train rows where models are trained.

    Raises:
        UserError: sources that are not available, or a target with fewer than are asked for.
    """
    named = dict.fromkeys(tag for problem in grid.problems for tag in problem.sources or ())
    missing = [tag for tag in named if tag not in available]
    if missing:
        raise UserError(f"no source model for {', '.join(missing)}; available: {', '.join(sorted(available))}")
    found: dict[str, Cell] = {}
    for problem in grid.problems:
        used: dict[str, None] = {}
        for approach in grid.approaches:
            for cell in cells_of(problem, approach, grid.seeds, available):
                found.setdefault(cell.identity.digest, cell)
                used |= dict.fromkeys(tag for tag in cell.sources if tag in available and tag != problem.target)
        if grid.alone == "all":
            used = dict.fromkeys(tag for tag in problem.sources or available if tag != problem.target)
        for tag in used if grid.alone != "none" else ():
            for cell in cells_of(problem, Single(tag, training=grid.training), grid.seeds, available):
                found.setdefault(cell.identity.digest, cell)
    return list(found.values())


def cells_of(problem: Problem, approach: Approach, seeds: Sequence[int], available: Collection[str]) -> list[Cell]:
    """The cells of one problem and one approach: one a seed, or one where no seed makes a difference."""
    given = isinstance(approach, Single) and approach.source == TARGET and approach.training is None
    if given and problem.target not in available:  # there is no model on the target's own labels
        return []
    trains = getattr(approach, "training", None) is not None
    chosen = seeds if trains or approach.draws() else seeds[:1]
    return [Cell(problem, approach, seed, approach.choose(problem, available, seed)) for seed in chosen]
