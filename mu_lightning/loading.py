"""Loads configs, tokenizers and models of transformers, with validation of folders and one-line errors.

Code in model folders is never executed: every loader sets ``trust_remote_code=False``, without which transformers would
prompt on standard input.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mu_lightning.merging.engine.finite import check_finite
from mu_lightning.merging.folders.model_folders import ModelFolder, open_folder
from mu_lightning.merging.folders.tokenizer_files import check_tokenizer_files
from mu_lightning.settings import EMBEDDED_BASE
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.hub import settle_hub
from mu_lightning.utilities.reading import read_json_object
from mu_lightning.utilities.resources import resource

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


def located(source: str | Path) -> str:
    """Resolves a model folder or hub id for transformers.

    Raises:
        UserError: a missing folder, or one without config.json.
    """
    path = resource(source)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(f"{path} is not a model folder: it has no config.json{_adapter_hint(path)}")
        return str(path)
    if isinstance(source, Path) or str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
        raise UserError(f"no model folder at {path}")
    settle_hub()
    return str(source)


@contextmanager
def loading(source: str | Path, what: str) -> Iterator[str]:
    """Yields the location of a model; errors inside the block become a one-line UserError.

    Args:
        source: model folder or hub id.
        what: ``model``, ``config`` or ``tokenizer``.
    """
    where = located(source)
    path = resource(source)
    if path.is_dir():
        if what == "model" and any(path.glob("*.safetensors*")):
            open_folder(path)
        else:
            read_json_object(path / "config.json")
    try:
        yield where
    except UserError:
        raise
    # The libraries below raise errors of many families, a bare Exception among them (tokenizers).
    except Exception as error:
        if path.is_dir() and what == "tokenizer":
            check_tokenizer_files(path)
        raise _not_loaded(source, what, error) from error


def check_finite_model(source: str | Path, model: "nn.Module") -> None:
    """Raises UserError if a model's parameters or buffers contain a NaN or an infinity."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            check_finite(tensor, name, str(source))


def built_classifier(config: Mapping[str, Any], what: str | Path) -> "PreTrainedModel":
    """A classifier of an architecture, in float32, with weights that are to be replaced.

    Args:
        config: content of config.json.
        what: the model, for errors.

    Raises:
        UserError: an architecture that transformers does not have, or a config that it refuses.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    values = dict(config)
    if "model_type" not in values:
        raise UserError(f"the config.json of {what} names no model_type")
    try:
        with torch.random.fork_rng(devices=[]):
            built = AutoConfig.for_model(values.pop("model_type"), **values)
            model: PreTrainedModel = AutoModelForSequenceClassification.from_config(
                built, dtype=torch.float32, trust_remote_code=False
            )
    except Exception as error:  # validation errors of several families
        raise _not_built(what, error) from error
    return model


def check_classifier(folder: ModelFolder) -> None:
    """Checks from config and headers that a folder is a trained classifier of an architecture that transformers has.

    Raises:
        UserError: an unknown architecture, a config that it refuses, or a tensor that is missing or of another shape.
    """
    import torch

    with torch.device("meta"):
        model = built_classifier(folder.config, folder.path)
    for name, tensor in model.state_dict().items():
        if name not in folder.tensors:
            raise UserError(f"{folder.path} is not a trained classifier: it lacks {name}")
        if folder.tensors[name].shape != tuple(tensor.shape):
            raise UserError(
                f"{folder.path}: {name} has the shape {list(folder.tensors[name].shape)}, but by its config.json it is "
                f"{list(tensor.shape)}"
            )


def loaded_classifier(folder: ModelFolder) -> "PreTrainedModel":
    """The classifier in an opened folder, in float32, with the names and the order of classes that it was given.

    Raises:
        UserError: as of `check_classifier`.
    """
    from mu_lightning.merging.folders.mapped_files import MappedFiles

    check_classifier(folder)
    model, files = built_classifier(folder.config, folder.path), MappedFiles()
    wanted = model.state_dict()
    model.load_state_dict({name: files.tensor(folder.tensors[name]).to(wanted[name].dtype) for name in wanted})
    return model.eval()


def _adapter_hint(path: Path) -> str:
    if not (path / "adapter_config.json").is_file():
        return ""
    return f"; it holds an adapter, which is merged as BASE+{path}"


def _not_built(what: str | Path, error: Exception) -> UserError:
    if "trust_remote_code" in str(error):
        return _own_code(what)
    return UserError(f"no classifier can be built of the config.json of {what}: {_first_line(error)}")


def _own_code(source: str | Path) -> UserError:
    return UserError(
        f"{source} needs Python code of its own (auto_map), which is never run here: only architectures that "
        "transformers has can be loaded"
    )


def _not_loaded(source: str | Path, what: str, error: Exception) -> UserError:
    reason = _first_line(error)
    if "trust_remote_code" in str(error):
        return _own_code(source)
    if resource(source).is_dir():
        return UserError(f"the {what} in {source} cannot be loaded: {reason}")
    return UserError(
        f"cannot download the {what} '{source}' from the Hugging Face hub ({reason}): check the network "
        f"(or fill the hub's cache beforehand), or work offline from a local folder: --base {EMBEDDED_BASE} or another "
        "(and MASSIVE from an unpacked release: --data-dir)"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    named = f"{type(error).__name__}: " if isinstance(error, (LookupError, AttributeError, TypeError)) else ""
    return named + " ".join(" ".join(lines[: 2 if lines[0].endswith(":") else 1]).split()).rstrip(".:")
