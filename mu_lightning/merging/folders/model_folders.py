"""Model folders in Hugging Face layout, opened for merging by their headers and configs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mu_lightning.merging.engine.checks import Signature
from mu_lightning.merging.folders.configs import check_same_config
from mu_lightning.merging.folders.labels import class_names
from mu_lightning.merging.folders.safetensor_files import Entry, read_header
from mu_lightning.merging.folders.same_tokenizer import check_same_tokenizer
from mu_lightning.merging.folders.tensor_names import current_name
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_json_object

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Output embeddings of language models, which a config may tie to the input embeddings, and classes of such models.
_OUTPUT_EMBEDDINGS = ("lm_head.weight", "lm_head.decoder.weight", "cls.predictions.decoder.weight", "embed_out.weight")
_LANGUAGE_MODELS = ("ForMaskedLM", "ForCausalLM", "LMHeadModel", "ForPreTraining", "ForConditionalGeneration")


@dataclass(frozen=True)
class ModelFolder:
    """Config and tensor locations of a model folder.

    Attributes:
        path: the folder.
        config: content of config.json.
        tensors: tensor name -> location.
    """

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Entry]

    @property
    def signatures(self) -> dict[str, Signature]:
        """Tensor name -> shape and dtype's name."""
        return {name: (entry.shape, entry.dtype) for name, entry in self.tensors.items()}


def open_folder(path: Path) -> ModelFolder:
    """Opens a model folder, single-file or sharded, by its config and headers.

    Raises:
        UserError: missing folder, missing or corrupt config, no safetensors (pickles are never opened), a corrupt file,
            an index that names a file outside the folder, or a tensor that is missing in its shard.
    """
    if not path.is_dir():
        raise UserError(f"no model folder at {path}")
    config = _read_json(path / "config.json")
    _check_no_own_code(path, config)
    if (path / SINGLE).is_file():
        return ModelFolder(path, config, _currently_named(path, read_header(path / SINGLE)))
    if not (path / INDEX).is_file():
        pickles = sorted(found.name for found in (*path.glob("*.bin"), *path.glob("*.pt"), *path.glob("*.pth")))
        if pickles:
            raise UserError(
                f"{path} has pickled weights ({pickles[0]}), which can execute code and are never loaded: "
                "save the model again with save_pretrained, which writes safetensors"
            )
        raise UserError(f"{path} has no {SINGLE}")
    where = _read_json(path / INDEX).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(name, str) for name in where.values()):
        raise UserError(f"{path / INDEX} has no weight_map")
    tensors: dict[str, Entry] = {}
    for shard in sorted(set(where.values())):
        # Only the name is checked: files in a hub cache are links to other folders.
        if Path(shard).name != shard or shard in ("", ".", ".."):
            raise UserError(f"{path / INDEX} names {shard!r}, which leaves the folder")
        if not (path / shard).is_file():
            raise UserError(f"{path} lacks its shard {shard}")
        found = read_header(path / shard)
        expected = [name for name, file in where.items() if file == shard]
        absent = [name for name in expected if name not in found]
        if absent or len(found) > len(expected):
            odd = absent or [name for name in found if name not in expected]
            raise UserError(f"{path / INDEX} and {shard} disagree about {odd[0]}")
        tensors |= found
    return ModelFolder(path, config, _currently_named(path, tensors))


def _currently_named(path: Path, tensors: Mapping[str, Entry]) -> dict[str, Entry]:
    named = {current_name(name): entry for name, entry in tensors.items()}
    if len(named) < len(tensors):
        twice = next(name for name in tensors if current_name(name) != name and current_name(name) in tensors)
        raise UserError(f"{path} has {current_name(twice)} twice, the other time as {twice}")
    return named


def check_ties(source: str, folder: ModelFolder) -> None:
    """Checks that the stored output embedding is consistent with the config.

    Raises:
        UserError: an output embedding is stored although the config ties it to the input embeddings, so that loading
            would drop it; or it is neither stored nor tied, so that loading would initialize it at random.
    """
    stored = [name for name in folder.tensors if name.endswith(_OUTPUT_EMBEDDINGS)]
    tied = folder.config.get("tie_word_embeddings", True)
    if tied and stored:
        raise UserError(
            f"{stored[0]} of {source} would be lost: its config ties the word embeddings (tie_word_embeddings), so "
            "loading the merged model would put the input embeddings in its place. Save the source again with "
            "save_pretrained, or with tie_word_embeddings false if it is a tensor of its own"
        )
    languages = any(name.endswith(_LANGUAGE_MODELS) for name in folder.config.get("architectures") or ())
    if not tied and not stored and languages:
        raise UserError(
            f"the output embedding of {source} is lost: it is not stored, and its config does not tie it to the input "
            "embeddings (tie_word_embeddings false). Save the source again with save_pretrained"
        )


def check_same_models(folders: Mapping[str, ModelFolder]) -> None:
    """Checks that classes, configs and tokenizers of the sources agree.

    Raises:
        UserError: the first difference; the error names both sources.
    """
    (first, expected), *others = folders.items()
    for other, found in others:
        _check_labels(first, class_names(expected.config, first), other, class_names(found.config, other))
        check_same_config(first, expected.config, other, found.config)
        check_same_tokenizer(first, expected.path, other, found.path)


def _check_labels(first: str, expected: Sequence[str] | None, other: str, found: Sequence[str] | None) -> None:
    if expected == found:
        return
    if expected is None or found is None or len(expected) != len(found):
        counts = [0 if labels is None else len(labels) for labels in (expected, found)]
        raise UserError(f"the label maps differ: {counts[0]} labels in {first}, {counts[1]} in {other}")
    index = next(index for index, name in enumerate(expected) if found[index] != name)
    raise UserError(
        f"the label maps differ: label {index} is '{expected[index]}' in {first} and '{found[index]}' in {other}"
    )


def _check_no_own_code(path: Path, config: Mapping[str, Any]) -> None:
    """Raises UserError for an architecture that only the folder's own Python code knows."""
    if "AutoConfig" not in (config.get("auto_map") or {}):
        return
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        raise UserError(
            f"{path} needs Python code of its own (auto_map in its config.json), which is never run here: only "
            "architectures that transformers has can be used"
        )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path.parent} is not a model folder: it has no {path.name}")
    return read_json_object(path)
