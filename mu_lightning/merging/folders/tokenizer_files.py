"""Tokenizer files of a model folder: comparing and copying."""

import json
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import write_text
from mu_lightning.utilities.reading import check_not_lfs_pointer, read_json_object, read_text

TOKENIZER_CONFIG = "tokenizer_config.json"
_FAST = "tokenizer.json"
# Files with pieces, any one of which is a tokenizer.
_PIECES = (_FAST, "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model", "vocab.txt", "vocab.json")
TOKENIZER_FILES = (*_PIECES, "merges.txt", "added_tokens.json", "special_tokens_map.json", "chat_template.jinja")
_MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")  # those of the tokenizers library
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
    _check_fast(expected)
    if all(_same_file(expected / name, found / name) for name in (*TOKENIZER_FILES, TOKENIZER_CONFIG)):
        return
    _check_fast(found)
    having = [name for name, folder in ((first, expected), (other, found)) if _has_tokenizer(folder)]
    if len(having) < 2:
        if base or not having:
            return
        lacking = other if having == [first] else first
        raise UserError(f"the tokenizers cannot be compared: {having[0]} has one, {lacking} does not")
    from mu_lightning.merging.folders.tokenizer_behavior import tokenizer_difference

    difference = tokenizer_difference(expected, found)
    if difference is not None:
        raise UserError(f"the tokenizers of {first} and {other} differ: {difference}")


def check_tokenizer_files(folder: Path) -> None:
    """Raises UserError for the first file of a tokenizer that cannot be read, by name."""
    import tokenizers

    for name in (*TOKENIZER_FILES, TOKENIZER_CONFIG):
        path = folder / name
        if not path.is_file():
            continue
        check_not_lfs_pointer(path)
        if path.suffix == ".json":
            content = read_json_object(path)
            if name == _FAST:
                try:
                    tokenizers.Tokenizer.from_str(read_text(path))
                except Exception as error:  # the library raises nothing more specific
                    version = content.get("version")
                    raise UserError(f"{path} is no tokenizer (version {version}) that can be read: {error}") from error


def copy_tokenizer(source: Path, output: Path) -> None:
    """Copies the tokenizer of a model folder, if there is one; the copy neither truncates nor pads by itself."""
    for name in (*TOKENIZER_FILES, TOKENIZER_CONFIG):
        path = source / name
        if not path.is_file():
            continue
        if name == _FAST:
            content = read_json_object(path)
            if any(content.get(key) is not None for key in _STATE):
                write_text(output / name, json.dumps(content | dict.fromkeys(_STATE), indent=2, ensure_ascii=False))
                continue
        shutil.copyfile(path, output / name)


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (*_PIECES, TOKENIZER_CONFIG))


def _check_fast(folder: Path) -> None:
    """Raises UserError for a tokenizer.json that is not one, as far as a look at its JSON tells."""
    path = folder / _FAST
    if path.is_file():
        status = path.stat()
        _check_fast_file(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _check_fast_file(path: Path, size: int, changed: int) -> None:
    """The same of a file, once for each size and time of change."""
    del size, changed
    model: Any = read_json_object(path).get("model")
    if model is not None and (not isinstance(model, dict) or model.get("type", _MODELS[0]) not in _MODELS):
        kind = model.get("type") if isinstance(model, dict) else model
        raise UserError(f"{path} has a model of the type {kind!r}, which is none of {', '.join(_MODELS)}")


def _same_file(ours: Path, theirs: Path) -> bool:
    if ours.is_file() != theirs.is_file():
        return False
    if not ours.is_file():
        return True
    one, other = ours.read_bytes(), theirs.read_bytes()
    if one == other or ours.suffix != ".json":
        return one == other
    ignored = _INCIDENTAL if ours.name == TOKENIZER_CONFIG else _STATE
    contents = [read_json_object(path) for path in (ours, theirs)]
    kept = [{key: value for key, value in content.items() if key not in ignored} for content in contents]
    return kept[0] == kept[1]
