"""Where a model lies on this machine: a folder as it is, a hub id through huggingface_hub's cache."""

from pathlib import Path

from mu_lightning.errors import UserError
from mu_lightning.merging.model_folders import TOKENIZER_CONFIG, TOKENIZER_FILES
from mu_lightning.resources import resource

_NEEDED = ["config.json", "*.safetensors", "*.safetensors.index.json", TOKENIZER_CONFIG, *TOKENIZER_FILES]


def local_folder(model: Path | str) -> Path:
    """The folder of a model: itself, one that comes with the program, or the hub's snapshot of that id.

    Raises:
        UserError: it is neither a folder nor on the hub, or the hub cannot be reached.
    """
    folder = resource(model)
    if folder.is_dir():
        return folder
    if isinstance(model, Path) or model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise UserError(f"no model folder at {model}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=_NEEDED))
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(
            f"cannot get the model '{model}' from the Hugging Face hub ({reason}): "
            "connect to a network, or name a folder"
        ) from error
