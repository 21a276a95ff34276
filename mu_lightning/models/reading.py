"""Checks whether a model supports the texts of a run: length, token ids, padding, vocabulary subsets."""

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
from mu_lightning.models.vocabulary_subset import VocabularySubset, select_vocabulary, word_embeddings_of
from mu_lightning.utilities.errors import UserError

# Names of learned position embeddings in transformers.
_POSITION_EMBEDDINGS = ("position_embeddings", "embed_positions", "wpe")
# Architectures whose logits depend on padding, so that scores would depend on the batches: CANINE joins characters
# across the end of a text, FNet has no mask, XLNet reads the end of a row.
_PADDING_SENSITIVE = ("canine", "fnet", "nystromformer", "reformer", "xlnet")
# Tolerance between logits with and without padding, for rounding errors.
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4


def most_tokens(model: PreTrainedModel) -> int | None:
    """Returns the maximum number of tokens of a text, including special tokens; None if there is no limit.

    It is the number of position embeddings, except for RoBERTa, whose position ids start at padding id + 1, and BART,
    which skips the first two. Without position embeddings (rotary or relative positions) it is taken from the config.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in _POSITION_EMBEDDINGS:
            rows = module.num_embeddings - int(getattr(module, "offset", 0))
            if module.padding_idx is not None:
                return rows - module.padding_idx - 1
            return rows - rows % LENGTH_STEP  # batches are padded to this multiple, and padding has positions, too
    stated = getattr(model.config, "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else None


def check_length(max_length: int, model: PreTrainedModel, name: str = "data.max_length") -> None:
    """Raises UserError if the maximum text length exceeds that of the model.

    Args:
        max_length: maximum number of tokens of a text.
        model: the model, with or without weights.
        name: name of the setting, for the error.
    """
    most = most_tokens(model)
    if most is not None and max_length > most:
        raise UserError(
            f"{name} is {max_length}, but this {model.config.model_type} model supports at most {most} tokens"
        )


def check_architecture(model: PreTrainedModel, source: str) -> None:
    """Raises UserError for architectures whose logits depend on padding.

    Args:
        model: the model, with or without weights.
        source: name of the model, for the error.
    """
    if model.config.model_type in _PADDING_SENSITIVE:
        raise UserError(
            f"{source} is a {model.config.model_type} model: its logits depend on padding, and so on the batches; "
            "use another architecture, such as XLM-R, BERT or DeBERTa"
        )


def check_tokens(parts: Sequence[EncodedRows], tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    """Raises UserError if token ids exceed the number of word embeddings."""
    largest = max(tokenizer.pad_token_id, *tokenizer.all_special_ids, *(int(part.tokens.max()) for part in parts))
    try:
        rows = getattr(model.get_input_embeddings(), "num_embeddings", None)
    except NotImplementedError:  # raised for models without input embeddings
        return
    if rows is not None and largest >= rows:
        raise UserError(
            f"the tokenizer does not match the model: token ids go up to {largest}, but the model has "
            f"{rows} word embeddings"
        )


def check_rows(parts: Sequence[EncodedRows], model: PreTrainedModel, source: str) -> None:
    """Raises UserError if a text exceeds the maximum length of the model.

    Args:
        parts: the texts.
        model: the model, with or without weights.
        source: name of the model, for the error.
    """
    most, longest = most_tokens(model), int(longest_texts(parts).lengths.max())
    if most is not None and longest > most:
        raise UserError(f"a text has {longest} tokens, but {source} supports at most {most}: set --max-length {most}")


def without_weights(source: str | Path) -> PreTrainedModel:
    """Creates the encoder of a model folder or hub id on the meta device; raises UserError without a valid config."""
    from transformers import AutoModel

    with torch.device("meta"), quiet_transformers():
        made: PreTrainedModel = AutoModel.from_config(load_config(source), trust_remote_code=False)
    return made


@torch.no_grad()
def trial_logits(model: PreTrainedModel, rows: EncodedRows, source: str) -> Tensor:
    """Computes the logits of the longest and the shortest text in one batch, shape (2, classes).

    Args:
        model: a classifier on a CPU; its mode is not changed.
        rows: the texts, with a vocabulary subset if the model is trimmed.
        source: name of the model, for errors.

    Raises:
        UserError: the model fails, or its logits are not finite or depend on padding.
    """
    classifier, training = IntentClassifier(model), model.training
    ends = [int(rows.lengths.argmax()), int(rows.lengths.argmin())]
    kind = f"{source} (a {model.config.model_type} model)"
    model.eval()
    try:
        together = classifier(rows.batch(ends))
        alone = classifier(rows.batch(ends[1:], step=1))
    except Exception as error:  # any error of the architecture
        raise UserError(f"{kind} cannot classify batches of texts: {_first_line(error)}") from error
    finally:
        model.train(training)
    if together.shape != (2, model.config.num_labels):
        found, wanted = tuple(together.shape), (2, model.config.num_labels)
        raise UserError(f"{kind} cannot be used: its logits have shape {found}, expected {wanted}")
    if not together.isfinite().all():
        raise UserError(f"{kind} cannot be used: its logits are not finite; the weights are corrupt")
    if not torch.allclose(together[1:], alone, _RELATIVE, _ABSOLUTE):
        raise UserError(f"{kind} cannot be used: its logits depend on padding")
    return together


def vocabulary_subset_of(
    model: PreTrainedModel,
    parts: Sequence[EncodedRows],
    tokenizer: PreTrainedTokenizerBase,
    trimmed: bool,
    weights: Path | None = None,
) -> VocabularySubset | None:
    """Creates the vocabulary subset of some texts, and trims the base to it.

    Args:
        model: the base with full word embeddings; `trial_logits` must have succeeded.
        parts: the texts.
        tokenizer: tokenizer of the base.
        trimmed: whether to trim the base. It is not trimmed if it depends on specific token ids, such as BART on
            the end-of-text token.
        weights: safetensors file of the base, if it is a single file.

    Returns:
        The vocabulary subset; None for a model without word embeddings, such as CANINE, which hashes characters.

    Raises:
        UserError: the word embeddings are not of type ``nn.Embedding``.
    """
    table = word_embeddings_of(model)
    if table is None:
        return None
    padding = max(int(tokenizer.pad_token_id), int(model.config.pad_token_id or 0))
    used = used_vocabulary((part.tokens for part in parts), tokenizer, len(table), padding)
    longest = longest_texts(parts)
    whole = trial_logits(model, longest, "the base") if trimmed else None
    subset = select_vocabulary(model, used, trimmed, weights)
    if whole is None or _same_logits(model, replace(longest, vocabulary=used), whole):
        return subset
    subset.restore(model)
    return select_vocabulary(model, used, False, weights)


def longest_texts(parts: Sequence[EncodedRows]) -> EncodedRows:
    """Returns the part with the longest text."""
    return max(parts, key=lambda part: int(part.lengths.max()))


def _same_logits(model: PreTrainedModel, rows: EncodedRows, expected: Tensor) -> bool:
    try:
        return torch.allclose(trial_logits(model, rows, "the base"), expected, _RELATIVE, _ABSOLUTE)
    except UserError:
        return False


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
