"""Tokenizer files of a model folder: comparing and copying."""

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
# State of the last call or save; it does not affect the token ids.
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
    """Raises UserError if the tokenizer files of two folders differ in a way that affects token ids.

    Args:
        first: name of the first folder, for the error.
        expected: the first folder.
        other: name of the second folder.
        found: the second folder.
        base: compare common files only: a base may have no tokenizer, or a slow one.
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
        return False  # a corrupt file is treated as different
    if not all(isinstance(content, dict) for content in contents):
        return bool(contents[0] == contents[1])
    contents = [{key: value for key, value in content.items() if key not in ignored} for content in contents]
    return contents[0] == contents[1]


def copy_tokenizer(source: Path, output: Path) -> None:
    """Copies the tokenizer of a model folder, if there is one."""
    for name in (*TOKENIZER_FILES, TOKENIZER_CONFIG):
        if (source / name).is_file():
            shutil.copyfile(source / name, output / name)
