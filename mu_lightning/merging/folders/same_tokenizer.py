"""Whether the tokenizers of two folders do the same."""

from pathlib import Path

from mu_lightning.merging.folders.tokenizer_behavior import tokenizer_difference
from mu_lightning.merging.folders.tokenizer_files import (
    CALL_STATE,
    PIECES,
    TOKENIZER_CONFIG,
    TOKENIZER_FILES,
    check_tokenizer_json,
)
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_json_object

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
    """Checks that the tokenizers of two folders give the same ids for every text.

    Folders whose files say the same are not looked at further; of others the tokenizers are loaded and compared.

    Args:
        first: name of the first folder, for the error.
        expected: the first folder.
        other: name of the second folder.
        found: the second folder.
        base: whether a folder may have no tokenizer, as a base may.

    Raises:
        UserError: the tokenizers differ, only one folder has one, or one cannot be loaded.
    """
    check_tokenizer_json(expected)
    if all(_same_file(expected / name, found / name) for name in (*TOKENIZER_FILES, TOKENIZER_CONFIG)):
        return
    check_tokenizer_json(found)
    having = [name for name, folder in ((first, expected), (other, found)) if _has_tokenizer(folder)]
    if len(having) < 2:
        if base or not having:
            return
        lacking = other if having == [first] else first
        raise UserError(f"the tokenizers cannot be compared: {having[0]} has one, {lacking} does not")
    difference = tokenizer_difference(expected, found)
    if difference is not None:
        raise UserError(f"the tokenizers of {first} and {other} differ: {difference}")


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*PIECES, TOKENIZER_CONFIG))


def _same_file(ours: Path, theirs: Path) -> bool:
    if ours.is_file() != theirs.is_file():
        return False
    if not ours.is_file():
        return True
    one, other = ours.read_bytes(), theirs.read_bytes()
    if one == other or ours.suffix != ".json":
        return one == other
    ignored = _INCIDENTAL if ours.name == TOKENIZER_CONFIG else CALL_STATE
    contents = [read_json_object(path) for path in (ours, theirs)]
    kept = [{key: value for key, value in content.items() if key not in ignored} for content in contents]
    return kept[0] == kept[1]
