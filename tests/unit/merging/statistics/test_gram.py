"""Gram matrices against hidden states from transformers, and RegMean++ against models put together by hand."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from mu_lightning.merging.engine.in_memory import merge_tensors
from mu_lightning.merging.statistics.gram import gram_matrices, merged_gram_matrices

BLOCK = "roberta.encoder.layer."


def test_it_is_the_mean_outer_product_of_a_layer_s_inputs_without_padding(model: nn.Module, batches: Callable) -> None:
    found = gram_matrices(model, batches(7, 3))
    assert found.keys() == {f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    for layer in (0, 1):
        inputs = []
        for text in batches(7, 1):
            inputs.append(model(**text, output_hidden_states=True).hidden_states[layer][0])
        tokens = torch.cat(inputs)
        expected = tokens.T @ tokens / len(tokens)
        for part in ("query", "key", "value"):
            torch.testing.assert_close(found[f"{BLOCK}{layer}.attention.self.{part}.weight"], expected)
    firsts = torch.cat([model(**text, output_hidden_states=True).hidden_states[-1][:, 0] for text in batches(7, 1)])
    torch.testing.assert_close(found["classifier.dense.weight"], firsts.T @ firsts / 7)


def test_a_block_s_inputs_are_those_that_the_merged_blocks_below_give(
    model: nn.Module, states: Mapping[str, dict[str, Tensor]], batches: Callable
) -> None:
    texts = {"nl-NL": batches(6, 3), "de-DE": batches(4, 2)}
    weights = {"nl-NL": 0.7, "de-DE": 0.3}

    def merge(names: Sequence[str], grams: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        some = {source: {name: state[name] for name in names} for source, state in states.items()}
        return merge_tensors("regmean_plus", some, weights, statistics=grams)

    found: dict[str, dict[str, Tensor]] = {source: {} for source in states}
    for grams in merged_gram_matrices(model, states, texts, merge):
        for source, each in grams.items():
            assert not found[source].keys() & each.keys()
            found[source] |= each

    every = list(states["nl-NL"])
    merged = merge([name for name in every if name.startswith("roberta.embeddings.")], {s: {} for s in states})
    for part in (f"{BLOCK}0.", f"{BLOCK}1.", "classifier."):
        expected = {}
        for source, state in states.items():
            model.load_state_dict({**state, **merged})
            matrices = gram_matrices(model, texts[source])
            expected[source] = {name: matrix for name, matrix in matrices.items() if name.startswith(part)}
            for name, matrix in expected[source].items():
                torch.testing.assert_close(found[source][name], matrix, rtol=1e-4, atol=1e-5)
        merged |= merge([name for name in every if name.startswith(part)], expected)
    assert found["nl-NL"].keys() == gram_matrices(model, texts["nl-NL"]).keys()
