"""The tokenizer in a model folder, by its files: whether two are the same, and copying one."""

import json
import shutil
from pathlib import Path

from mu_lightning.utilities.errors import UserError

TOKENIZER_CONFIG = "tokenizer_config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
# How a tokenizer was last called or saved rather than what it does with a text.
_STATE = {"truncation", "padding"}
_INCIDENTAL = {
    "name_or_path",
    "tokenizer_file",
    "special_tokens_map_file",
    "transformers_version",
    "is_local",
    "local_files_only",
    "max_length",
    "model_max_length",
    "stride",
    "truncation_side",
    "truncation_strategy",
    "pad_to_multiple_of",
    "pad_token_type_id",
    "padding_side",
}


def check_same_tokenizer(first: str, expected: Path, other: str, found: Path, *, base: bool = False) -> None:
    """Raises UserError if two folders' tokenizers turn a text into different ids, as far as their files tell.

    Args:
        first: the one folder's name in the error.
        expected: the one folder.
        other: the other folder's name.
        found: the other folder.
        base: compare only what both have: a base may lie there without a tokenizer, or in its slow form.
    """
    both_fast = all((folder / TOKENIZER_FILES[0]).is_file() for folder in (expected, found))
    for name in (*TOKENIZER_FILES, TOKENIZER_CONFIG):
        ours, theirs = expected / name, found / name
        if ours.is_file() != theirs.is_file() and not base and not both_fast:
            holder, lacker = (first, other) if ours.is_file() else (other, first)
            raise UserError(f"the tokenizers cannot be compared: {holder} has {name}, {lacker} does not")
        if ours.is_file() and theirs.is_file() and not _same_tokenizer_file(ours, theirs):
            raise UserError(f"the tokenizers of {first} and {other} differ ({name})")


def _same_tokenizer_file(ours: Path, theirs: Path) -> bool:
    one, other = ours.read_bytes(), theirs.read_bytes()
    if one == other:
        return True
    if ours.suffix != ".json":
        return False
    ignored = _INCIDENTAL if ours.name == TOKENIZER_CONFIG else _STATE
    try:
        contents = [json.loads(text) for text in (one, other)]
    except ValueError:
        return False  # a broken one: nobody knows what it does
    if not all(isinstance(content, dict) for content in contents):
        return bool(contents[0] == contents[1])
    contents = [{key: value for key, value in content.items() if key not in ignored} for content in contents]
    return contents[0] == contents[1]


def copy_tokenizer(source: Path, output: Path) -> None:
    """Copies a model folder's tokenizer, if it has one."""
    for name in (*TOKENIZER_FILES, TOKENIZER_CONFIG):
        if (source / name).is_file():
            shutil.copyfile(source / name, output / name)
