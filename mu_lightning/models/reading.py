"""What a model can read, found out before anything long begins: how long texts are, and padded batches of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mu_lightning.checkpoints import load_config, quiet_transformers
from mu_lightning.data.encoding import LENGTH_STEP, EncodedRows
from mu_lightning.data.vocabulary import used_vocabulary
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.models.vocabulary_subset import Words, word_table, words_of
from mu_lightning.utilities.errors import UserError

# What transformers' models call their learned table of positions.
_POSITION_TABLES = ("position_embeddings", "embed_positions", "wpe")
# Architectures whose answer to a text depends on the padding beside it, so that scores would depend on the batches:
# CANINE joins characters across a text's end, FNet has no mask, XLNet reads a row's end.
_PADDING_MATTERS = ("canine", "fnet", "nystromformer", "reformer", "xlnet")
# Between the logits of a text alone and beside padding: sums of other lengths round differently.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


def most_tokens(model: PreTrainedModel) -> int | None:
    """How many tokens of a text a model has positions for, special tokens included; None where it names no limit.

    A table of positions is as long as the longest text, but for RoBERTa's kind, which counts from the padding's id + 1
    on, and BART's, which leaves out the first two. Without a table (rotary or relative positions) the configuration
    tells for how many the model was made.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _POSITION_TABLES:
            rows = module.num_embeddings - int(getattr(module, "offset", 0))
            if module.padding_idx is not None:
                return rows - module.padding_idx - 1
            return rows - rows % LENGTH_STEP  # batches are filled up to such a width, and padding has positions too
    stated = getattr(model.config, "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else None


def check_length(max_length: int, model: PreTrainedModel, name: str = "data.max_length") -> None:
    """Raises UserError where texts may be longer than the model reads.

    Args:
        max_length: tokens after which a text is cut.
        model: the model, with or without weights.
        name: the setting, as the error calls it.
    """
    most = most_tokens(model)
    if most is not None and max_length > most:
        raise UserError(f"{name} is {max_length}, but this {model.config.model_type} model reads at most {most} tokens")


def check_architecture(model: PreTrainedModel, source: str) -> None:
    """Raises UserError for an architecture whose answer to a text is not the text's alone.

    Args:
        model: the model, with or without weights.
        source: the model, as the error calls it.
    """
    if model.config.model_type in _PADDING_MATTERS:
        raise UserError(
            f"{source} is a {model.config.model_type} model: its answer to a text depends on the padding beside the "
            "text, so on the batches; choose a base of another architecture, such as XLM-R, BERT or DeBERTa"
        )


def check_tokens(parts: Sequence[EncodedRows], tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Raises UserError where the tokenizer has ids that the model's word table has no row for."""
    largest = max(tokenizer.pad_token_id, *tokenizer.all_special_ids, *(int(part.tokens.max()) for part in parts))
    try:
        rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:  # transformers' word for a model without a word table
        return
    if rows is not None and largest >= rows:
        raise UserError(
            f"the tokenizer does not belong to the model: it gives token ids up to {largest}, but the model's word "
            f"table has {rows} rows"
        )


def check_rows(parts: Sequence[EncodedRows], model: PreTrainedModel, source: str) -> None:
    """Raises UserError where a text is longer than the model reads.

    Args:
        parts: the texts.
        model: the model, with or without weights.
        source: the model, as the error calls it.
    """
    most, longest = most_tokens(model), int(longest_texts(parts).lengths.max())
    if most is not None and longest > most:
        raise UserError(f"a text has {longest} tokens, but {source} reads at most {most}: set --max-length {most}")


def without_weights(source: str | Path) -> PreTrainedModel:
    """The encoder of a model folder or hub id with its shapes and no values; raises UserError where it has none."""
    from transformers import AutoModel

    with torch.device("meta"), quiet_transformers():
        made: PreTrainedModel = AutoModel.from_config(load_config(source))
    return made


@torch.no_grad()
def trial_logits(model: PreTrainedModel, rows: EncodedRows, source: str) -> Tensor:
    """The logits of the longest and the shortest text in one batch, shape (2, classes).

    Args:
        model: a classifier on a CPU; its mode is left as it is.
        rows: the texts; those of a vocabulary subset where the model holds one.
        source: the model, as errors call it.

    Raises:
        UserError: the model cannot compute them, or they are not finite or depend on the padding beside a text.
    """
    classifier, training = IntentClassifier(model), model.training
    ends = [int(rows.lengths.argmax()), int(rows.lengths.argmin())]
    kind = f"{source} (a {model.config.model_type} model)"
    model.eval()
    try:
        together = classifier(rows.batch(ends))
        alone = classifier(rows.batch(ends[1:], step=1))
    except Exception as error:  # whatever the architecture raises on what it was not made for
        raise UserError(f"{kind} cannot classify batches of texts: {_first_line(error)}") from error
    finally:
        model.train(training)
    if together.shape != (2, model.config.num_labels):
        found, wanted = tuple(together.shape), (2, model.config.num_labels)
        raise UserError(f"{kind} cannot be used: its logits are of shape {found} and not {wanted}")
    if not together.isfinite().all():
        raise UserError(f"{kind} cannot be used: its logits are not finite, so its weights are broken")
    if not torch.allclose(together[1:], alone, _RELATIVE, _ABSOLUTE):
        raise UserError(f"{kind} cannot be used: its answer to a text depends on the padding on the text's right")
    return together


def words_read(
    model: PreTrainedModel,
    parts: Sequence[EncodedRows],
    tokenizer: PreTrainedTokenizerBase,
    trimmed: bool,
    weights: Path | None = None,
) -> Words | None:
    """Which rows of a base's word table some texts ask for; a base that is to be trimmed is left with those alone.

    Args:
        model: the base, with its whole table, for which `trial_logits` gave logits.
        parts: the texts.
        tokenizer: the base's.
        trimmed: whether the base is to hold the used rows alone. It holds all where it knows tokens by their ids, as
            BART knows the end of a text: renumbered it would answer otherwise.
        weights: the safetensors file that the base was loaded from, if it is one file.

    Returns:
        The words; None for a model without a table of them, such as CANINE, which hashes characters.

    Raises:
        UserError: the table is not a plain one.
    """
    table = word_table(model)
    if table is None:
        return None
    padding = max(int(tokenizer.pad_token_id), int(model.config.pad_token_id or 0))
    used = used_vocabulary((part.tokens for part in parts), tokenizer, len(table), padding)
    longest = longest_texts(parts)
    whole = trial_logits(model, longest, "the base") if trimmed else None
    words = words_of(model, used, trimmed, weights)
    if whole is None or _answers_the_same(model, replace(longest, vocabulary=used), whole):
        return words
    words.put_back(model)
    return words_of(model, used, False, weights)


def longest_texts(parts: Sequence[EncodedRows]) -> EncodedRows:
    """The part with the longest text."""
    return max(parts, key=lambda part: int(part.lengths.max()))


def _answers_the_same(model: PreTrainedModel, rows: EncodedRows, expected: Tensor) -> bool:
    try:
        return torch.allclose(trial_logits(model, rows, "the base"), expected, _RELATIVE, _ABSOLUTE)
    except UserError:
        return False


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
