"""Model folders in Hugging Face layout, opened for merging by their headers and configs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mu_lightning.merging.engine.checks import Signature
from mu_lightning.merging.folders.safetensor_files import Entry, read_header
from mu_lightning.merging.folders.tokenizer_files import check_same_tokenizer
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.reading import read_json_object

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Keys of a config that do not affect the outputs of the model.
_INCIDENTAL = {
    "dtype",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "initializer_range",
    "finetuning_task",
    "task_specific_params",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
}
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
    if (path / SINGLE).is_file():
        return ModelFolder(path, config, read_header(path / SINGLE))
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
    return ModelFolder(path, config, tensors)


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


def label_map(config: Mapping[str, Any]) -> dict[int, str] | None:
    """Returns the class names of a config by index, None without any; raises UserError for invalid indices."""
    labels = config.get("id2label")
    try:
        return None if labels is None else {int(index): str(name) for index, name in labels.items()}
    except (AttributeError, ValueError) as error:
        raise UserError(f"a config's id2label is {labels!r}: it must map indices to class names") from error


def check_same_models(folders: Mapping[str, ModelFolder]) -> None:
    """Checks that label maps, configs and tokenizers of the sources agree.

    Raises:
        UserError: the first difference; the error names both sources.
    """
    (first, expected), *others = folders.items()
    for other, found in others:
        _check_labels(first, label_map(expected.config), other, label_map(found.config))
        for key in sorted({*expected.config, *found.config}):
            if _matters(key) and expected.config.get(key) != found.config.get(key):
                raise UserError(
                    f"the configs differ: {key} is {expected.config.get(key)!r} in {first} and "
                    f"{found.config.get(key)!r} in {other}"
                )
        check_same_tokenizer(first, expected.path, other, found.path)


def _matters(key: str) -> bool:
    """Whether a config key affects the outputs of the model; labels are compared separately."""
    return (
        key not in _INCIDENTAL
        and key not in ("id2label", "label2id")
        and not key.startswith(("_", "mu_"))
        and "dropout" not in key
    )


def _check_labels(first: str, expected: dict[int, str] | None, other: str, found: dict[int, str] | None) -> None:
    if expected == found:
        return
    if expected is None or found is None or len(expected) != len(found):
        counts = [0 if labels is None else len(labels) for labels in (expected, found)]
        raise UserError(f"the label maps differ: {counts[0]} labels in {first}, {counts[1]} in {other}")
    index = next(index for index in sorted({*expected, *found}) if expected.get(index) != found.get(index))
    raise UserError(
        f"the label maps differ: label {index} is {expected.get(index)!r} in {first} "
        f"and {found.get(index)!r} in {other}"
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path.parent} is not a model folder: it has no {path.name}")
    return read_json_object(path)
