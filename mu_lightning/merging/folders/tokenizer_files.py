"""Tokenizer files of a model folder: checking and copying."""

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
PIECES = (_FAST, "sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model", "vocab.txt", "vocab.json")
TOKENIZER_FILES = (*PIECES, "merges.txt", "added_tokens.json", "special_tokens_map.json", "chat_template.jinja")
_MODELS = ("BPE", "Unigram", "WordLevel", "WordPiece")  # those of the tokenizers library
# State of the last call or save; it does not affect the token ids.
CALL_STATE = {"truncation", "padding"}


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
            if any(content.get(key) is not None for key in CALL_STATE):
                write_text(output / name, json.dumps(content | dict.fromkeys(CALL_STATE), indent=2, ensure_ascii=False))
                continue
        shutil.copyfile(path, output / name)


def check_tokenizer_json(folder: Path) -> None:
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
