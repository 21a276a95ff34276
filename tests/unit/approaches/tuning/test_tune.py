"""Tuning on sources: scores are those of the models that are built, and the target's rows are not read."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mu_lightning.approaches.base import Cell, Inputs
from mu_lightning.approaches.evaluation_context import EvaluationContext, Scoring, prepare, with_dev
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.tuned import Tuned
from mu_lightning.approaches.tuning import space as space_module
from mu_lightning.approaches.tuning import tune as tuning_module
from mu_lightning.approaches.tuning.pseudo_targets import PseudoTargets, nearness, shuffled
from mu_lightning.approaches.tuning.space import SPACES, described
from mu_lightning.approaches.tuning.tune import Tuning, tune, tuning_table
from mu_lightning.data import registry
from mu_lightning.data.batching import eval_loader
from mu_lightning.data.token_cache import cache_dir
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.settings import DataSettings, TypologySettings
from mu_lightning.utilities.errors import UserError

MODELS = ("de-DE", "en-US", "nl-NL")
PROBLEM = Problem("af-ZA", DataSettings(corpus="small", max_length=32), sources=MODELS)


class Unreadable:
    """The small corpus, of which the target's rows cannot be read."""

    def __init__(self, corpus: Any) -> None:
        self.name, self.label_names, self.locales, self.notes = "small", corpus.label_names, corpus.locales, ()
        self._corpus = corpus

    def rows(self, locale: str, split: Any) -> Any:
        assert locale != "af-ZA", f"the {split} rows of the target are read"
        return self._corpus.rows(locale, split)


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_module, "TEMPERATURES", (None, 0.05))
    monkeypatch.setattr(space_module, "SCALES", (1.0, 1.6))


@pytest.fixture
def context(models_dir: Path, tiny_base: Path, corpus: Any, monkeypatch: pytest.MonkeyPatch) -> EvaluationContext:
    monkeypatch.setitem(registry.CORPORA, "small", lambda data_dir: Unreadable(corpus))
    folders = {tag: models_dir / f"tiny_small_{tag}" for tag in MODELS}
    prepared = prepare(Scoring(corpus="small", split="dev", max_length=32), folders, [], base=tiny_base)
    return with_dev(prepared, PROBLEM, MODELS)


def tuned(context: EvaluationContext, space: str) -> Tuning:
    plan = Tuned(space=space).choose(PROBLEM, MODELS, 0)
    assert plan is not None
    return tune(PROBLEM, plan.similarities, space, TypologySettings(), context)


@pytest.mark.parametrize("space", SPACES)
def test_a_score_is_that_of_the_model_that_is_built(context: EvaluationContext, space: str, tmp_path: Path) -> None:
    found = tuned(context, space)
    last = found.rounds[-1]
    assert len(last.candidates) >= 3
    for index, score, accuracies in zip(last.candidates, last.scores, last.accuracies, strict=True):
        candidate, expected = found.candidates[index], []
        for pseudo in found.weights:
            others = tuple(tag for tag in found.weights if tag != pseudo)
            problem = replace(PROBLEM, target=pseudo, sources=others)
            cell = Cell(problem, candidate, 0, candidate.choose(problem, others, 0))
            built = candidate.build(cell, Inputs(context), tmp_path)
            rows = {pseudo: eval_loader(context.dev[pseudo], 16)}
            expected.append(evaluate(built.classifier, rows)[pseudo].accuracy)
        assert accuracies.tolist() == pytest.approx(expected, abs=1e-12)
        assert score == pytest.approx(sum(w * e for w, e in zip(found.weights.values(), expected, strict=True)))
    assert last.scores[last.candidates.index(last.ranked[0])] == max(last.scores)
    assert found.chosen == found.candidates[last.ranked[0]]
    assert len({described(one) for one in found.candidates}) == len(found.candidates)
    assert described(found.chosen) in tuning_table("af-ZA", found.plain())


def test_what_was_scored_is_not_scored_again(context: EvaluationContext, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tuned(context, "merge")
    scored: list[str] = []
    correct = PseudoTargets.correct

    def counted(self: PseudoTargets, candidate: Any, target: str, start: int, stop: int) -> int:
        scored.append(target)
        return correct(self, candidate, target, start, stop)

    monkeypatch.setattr(PseudoTargets, "correct", counted)
    assert tuned(context, "merge").plain() == first.plain()
    assert scored == []
    # As of a tuning that was interrupted, and whose disk broke.
    files = sorted((cache_dir() / "tuning").glob("*-nl-NL-0-100.json"))
    files[0].unlink()
    for path in files[1:]:
        path.write_text("{")
    assert tuned(context, "merge").plain() == first.plain()
    assert set(scored) == {"nl-NL"}


def test_other_rows_or_another_space_are_scored_anew(context: EvaluationContext) -> None:
    plain = tuned(context, "merge")
    fewer = {tag: shuffled(rows, 20) for tag, rows in context.dev.items()}
    assert tuned(replace(context, dev=fewer), "merge").plain() != plain.plain()


def test_nearer_pseudo_targets_weigh_more() -> None:
    found = nearness({"a": 0.9, "b": 0.7, "c": 0.9}, 0.2)
    assert sum(found) == pytest.approx(1)
    assert found[0] == found[2] > found[1]


def test_what_cannot_be_tuned_is_refused(context: EvaluationContext) -> None:
    with pytest.raises(UserError, match="needs at least 3 sources, not 2: nl-NL, de-DE"):
        Tuned().choose(replace(PROBLEM, sources=("de-DE", "nl-NL")), MODELS, 0)
    with pytest.raises(UserError, match="unknown space 'merg': did you mean merge"):
        Tuned(space="merg").check()
    with pytest.raises(UserError, match="needs the base model"):
        tuned(replace(context, base=None), "merge")
    with pytest.raises(UserError, match="xx"):
        with_dev(context, PROBLEM, ["xx-XX"])


def test_a_space_takes_no_more_sources_than_a_left_out_one_has() -> None:
    for pool in (3, 4, 7, 12):
        for space in SPACES.values():
            numbers = {one.num_languages for one in space.candidates(pool, TypologySettings())}
            assert None in numbers
            assert all(number is None or number < pool - 1 for number in numbers)
    assert tuple(sorted(tuning_module.BUDGETS)) == tuning_module.BUDGETS
