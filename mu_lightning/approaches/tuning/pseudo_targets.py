"""Candidates on pseudo-targets: each source is left out in turn, and classified by what is made of the others."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from mu_lightning.approaches.base import Cell
from mu_lightning.approaches.evaluation_context import EvaluationContext
from mu_lightning.approaches.one_shot import OneShot
from mu_lightning.approaches.problem import Problem
from mu_lightning.approaches.tuning.space import Candidate, unscaled
from mu_lightning.data.batching import eval_loader
from mu_lightning.data.encoding import EncodedRows
from mu_lightning.evaluation.loop import labeled_logits
from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.methods.shared.scaling import is_head, scaled
from mu_lightning.models.votes import VOTES
from mu_lightning.utilities.errors import UserError

State = Mapping[str, Tensor]


@dataclass
class PseudoTargets:
    """Scores candidates on the dev rows of sources that are left out.

    Attributes:
        context: architecture and device.
        states: source -> the tensors of its model, held once.
        base: the tensors that the models started from, for candidates that need them.
        rows: source -> its labeled dev rows.
        problem: the problem that is tuned for; its target's rows are not read.
        seed: random seed, for stochastic methods.
    """

    context: EvaluationContext
    states: Mapping[str, State]
    base: State | None
    rows: Mapping[str, EncodedRows]
    problem: Problem
    seed: int = 0
    _merged: tuple[object, State] | None = field(default=None, init=False, repr=False)
    _logits: dict[tuple[str, str, int], tuple[Tensor, Tensor]] = field(default_factory=dict, init=False, repr=False)

    def correct(self, candidate: Candidate, target: str, start: int, stop: int) -> int:
        """Number of rows of a pseudo-target, from `start` to `stop`, that a candidate classifies right."""
        others = tuple(tag for tag in self.states if tag != target)
        problem = replace(self.problem, target=target, sources=others)
        cell = Cell(problem, candidate, self.seed, candidate.choose(problem, others, self.seed))
        rows = part(self.rows[target], start, stop)
        if not isinstance(candidate, OneShot):
            return self._voted(cell, rows, start)
        loader = {target: eval_loader(rows, self.context.batch_size)}
        logits, labels = labeled_logits(self.context.classifier(self._merge(cell, candidate)), loader)
        return int((logits.argmax(axis=1) == labels).sum())

    def _merge(self, cell: Cell, candidate: OneShot) -> State:
        """The merged model; candidates that differ in a factor alone, one after another, share a merge."""
        plain, scale = unscaled(candidate)
        key = (cell.target, plain.plain())
        if self._merged is None or self._merged[0] != key:
            sees = plain.merge_method.sees_base
            sources = {tag: self.states[tag] for tag in cell.sources}
            made = merge_tensors(
                plain.merge_method,
                sources,
                cell.weights,
                base=self.base if sees else None,
                parameters=plain.parameters,
                seed=self.seed,
                device=self.context.device,
            )
            self._merged = (key, made)
        merged = self._merged[1]
        if scale == 1:
            return merged
        if self.base is None:
            raise UserError("a scale of the task vector needs the base model")
        return {
            name: scaled(tensor, self.base[name].to(tensor), scale)
            if tensor.is_floating_point() and name in self.base and not (plain.merge_method.scalable and is_head(name))
            else tensor
            for name, tensor in merged.items()
        }

    def _voted(self, cell: Cell, rows: EncodedRows, start: int) -> int:
        """Each source's logits are computed once."""
        logits = []
        for source in cell.sources:
            key = (source, cell.target, start)
            if key not in self._logits:
                loader = {cell.target: eval_loader(rows, self.context.batch_size)}
                found = labeled_logits(self.context.classifier(self.states[source]), loader)
                self._logits[key] = (torch.from_numpy(found[0]), torch.from_numpy(found[1]))
            logits.append(self._logits[key][0])
        labels = self._logits[cell.sources[0], cell.target, start][1]
        vote, weights = cell.approach.vote(cell) or ("", {})
        answers = VOTES[vote](torch.stack(logits), torch.tensor([weights[source] for source in cell.sources]))
        return int((answers.argmax(dim=1) == labels).sum())


def shuffled(rows: EncodedRows, most: int) -> EncodedRows:
    """At most so many rows in a random order that is always the same, so that a part of them is a sample."""
    return _taken(rows, np.random.default_rng(0).permutation(len(rows))[:most])


def part(rows: EncodedRows, start: int, stop: int) -> EncodedRows:
    """The rows from `start` to `stop`."""
    return _taken(rows, range(start, min(stop, len(rows))))


def _taken(rows: EncodedRows, indices: Iterable[int]) -> EncodedRows:
    index = [int(place) for place in indices]
    tokens = [rows.tokens[rows.offsets[place] : rows.offsets[place + 1]] for place in index]
    return replace(
        rows,
        ids=[rows.ids[place] for place in index],
        labels=rows.labels[index],
        tokens=np.concatenate(tokens) if tokens else rows.tokens[:0],
        offsets=np.concatenate([[0], np.cumsum([len(one) for one in tokens])]).astype(rows.offsets.dtype),
    )


def nearness(similarities: Mapping[str, float], temperature: float) -> list[float]:
    """Weight of each pseudo-target, summing to 1: a softmax of its similarity to the target."""
    values = np.array(list(similarities.values()))
    weights = np.exp((values - values.max()) / temperature)
    found: Sequence[float] = (weights / weights.sum()).tolist()
    return list(found)
