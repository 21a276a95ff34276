"""Chooses among the candidates of a space by leaving out each source as a pseudo-target.

Labels of the target are never read. The score of a candidate is its accuracy on the dev rows of the sources, each
classified by what the candidate makes of the other sources, weighted by their similarity to the target. Scores are
cached, so that an interrupted tuning goes on.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mu_lightning.approaches.evaluation_context import EvaluationContext, FileTensors
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.tuning.halving import Round, halving
from mu_lightning.approaches.tuning.pseudo_targets import PseudoTargets, nearness, shuffled
from mu_lightning.approaches.tuning.score_cache import ScoreCache
from mu_lightning.approaches.tuning.space import SPACES, Candidate, described
from mu_lightning.results.identity import digest_of
from mu_lightning.results.provenance import versions
from mu_lightning.settings import LEAST_TUNED, TypologySettings
from mu_lightning.utilities.errors import UserError, unknown
from mu_lightning.utilities.progress import progress
from mu_lightning.utilities.tables import text_table

BUDGETS = (100, 200, 400)  # rows of each pseudo-target, in rounds of successive halving
NEARNESS = 0.2  # temperature of the softmax over the pseudo-targets' similarities to the target
SHOWN = 12  # lines of the printed table


@dataclass(frozen=True)
class Tuning:
    """What was tried, and what was chosen.

    Attributes:
        target: the target.
        space: name of the space.
        candidates: all candidates.
        rounds: rounds of successive halving.
        weights: pseudo-target -> its weight.
    """

    target: str
    space: str
    candidates: Sequence[Candidate]
    rounds: Sequence[Round]
    weights: Mapping[str, float]

    @property
    def chosen(self) -> Candidate:
        """The best candidate of the last round."""
        return self.candidates[self.rounds[-1].ranked[0]]

    def plain(self) -> dict[str, Any]:
        """The choice and everything that was tried, as plain values."""
        return {
            "tuned_on": "sources",
            "space": self.space,
            "chosen_candidate": described(self.chosen),
            "chosen": self.chosen.plain(),
            "pseudo_targets": dict(self.weights),
            "rounds": [
                {
                    "rows": one.budget,
                    "tried": [
                        {
                            "candidate": described(self.candidates[index]),
                            "score": score,
                            "accuracies": dict(zip(self.weights, accuracies.tolist(), strict=True)),
                        }
                        for index, score, accuracies in zip(one.candidates, one.scores, one.accuracies, strict=True)
                    ],
                }
                for one in self.rounds
            ],
        }


def tuning_table(target: str, tuning: Mapping[str, Any]) -> str:
    """What was tried as text, from `Tuning.plain`: the candidates of the last round first, and the choice."""
    best: dict[str, tuple[int, float]] = {}
    for one in reversed(tuning["rounds"]):
        for tried in sorted(one["tried"], key=lambda tried: -tried["score"]):
            best.setdefault(tried["candidate"], (one["rows"], tried["score"]))
    rows = [(name, str(budget), f"{score:.3f}") for name, (budget, score) in list(best.items())[:SHOWN]]
    more = f"\n... and {len(best) - SHOWN} more" if len(best) > SHOWN else ""
    pseudo = ", ".join(f"{tag} {weight:.2f}" for tag, weight in tuning["pseudo_targets"].items())
    return (
        f"{target}: {len(best)} candidates on the sources' dev rows, each source left out in turn, weighted by "
        f"similarity to the target ({pseudo})\n{text_table(('candidate', 'rows each', 'accuracy'), rows)}{more}\n"
        f"chosen: {tuning['chosen_candidate']}"
    )


def check_pool(target: str, pool: Sequence[str], space: str) -> None:
    """Raises UserError for an unknown space, or too few sources to leave one out."""
    if space not in SPACES:
        raise unknown("space", space, SPACES)
    if len(pool) < LEAST_TUNED:
        raise UserError(
            f"tuning for {target} leaves out each source in turn and needs at least {LEAST_TUNED} sources, not "
            f"{len(pool)}{': ' if pool else ''}{', '.join(pool)}"
        )


def tune(
    problem: Problem,
    similarities: Mapping[str, float],
    space: str,
    typology: TypologySettings,
    context: EvaluationContext,
    models: Mapping[str, str] | None = None,
    seed: int = 0,
    shown: bool = False,
) -> Tuning:
    """Chooses among the candidates of a space.

    Args:
        problem: the problem; its target is not read.
        similarities: source -> similarity to the target, for all sources to choose from.
        space: name of a space in `SPACES`.
        typology: how similarities come about.
        context: models, base, and the sources' labeled dev rows (`EvaluationContext.dev`).
        models: source -> its name in the context, where it differs.
        seed: random seed, for stochastic methods.
        shown: whether to show progress.

    Raises:
        UserError: an unknown space, too few sources, or a missing base.
    """
    pool = list(similarities)
    check_pool(problem.target, pool, space)
    names = {tag: (models or {}).get(tag, tag) for tag in pool}
    candidates = SPACES[space].candidates(len(pool), typology)
    if SPACES[space].needs_base and context.base is None:
        raise UserError(f"tuning in the space '{space}' needs the base model that the sources started from")
    rows = {tag: shuffled(context.dev[tag], BUDGETS[-1]) for tag in pool}
    pseudo = PseudoTargets(
        context,
        {tag: context.state(name) for tag, name in names.items()},
        context.base.load() if context.base is not None else None,
        rows,
        problem,
        seed,
    )
    key = _key(context, names, typology, seed)
    weights = nearness(similarities, NEARNESS)
    counts = np.zeros((len(candidates), len(pool)), dtype=np.int64)
    seen = 0

    def accuracies(left: Sequence[int], budget: int) -> np.ndarray:
        nonlocal seen
        what = f"tuning, {len(left)} candidates"
        for place, tag in progress(enumerate(pool), len(pool), what) if shown else enumerate(pool):
            cache = ScoreCache(f"{key}-{tag}-{seen}-{budget}")
            for index in left:
                candidate = candidates[index]

                def correct(candidate: Candidate = candidate, tag: str = tag) -> int:
                    return pseudo.correct(candidate, tag, seen, budget) if seen < len(rows[tag]) else 0

                counts[index, place] += cache.value(digest_of(candidate.plain()), correct)
            cache.write()
        seen = budget
        return counts[list(left)] / np.array([min(budget, len(rows[tag])) for tag in pool])

    rounds = halving(len(candidates), BUDGETS, accuracies, weights)
    return Tuning(problem.target, space, candidates, rounds, dict(zip(pool, weights, strict=True)))


def _key(context: EvaluationContext, names: Mapping[str, str], typology: TypologySettings, seed: int) -> str:
    """All that a score depends on besides candidate and rows: models, base, dev rows, similarities, versions."""
    base = context.base
    return digest_of(
        [
            {tag: context.fingerprints["models"][name] for tag, name in names.items()},
            [one.sha256 for one in base.stamps] if isinstance(base, FileTensors) else None,
            {tag: context.fingerprints["dev"][tag] for tag in names},
            {tag: hashlib.sha256(context.dev[tag].tokens.tobytes()).hexdigest() for tag in names},
            typology,
            seed,
            context.device,
            versions(),
        ]
    )
