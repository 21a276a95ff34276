"""Models on the Hugging Face hub: their folder on this machine, and uploads."""

from pathlib import Path

from mu_lightning.merging.folders.tokenizer_files import TOKENIZER_CONFIG, TOKENIZER_FILES
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.resources import resource

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_NEEDED = ["config.json", "training_details.json", *_WEIGHTS, TOKENIZER_CONFIG, *TOKENIZER_FILES]


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
        raise UserError(
            f"cannot get the model '{model}' from the Hugging Face hub ({_first_line(error)}): "
            "connect to a network, or name a folder"
        ) from error


def check_upload(repository: str) -> None:
    """Raises UserError if an upload to that repository cannot work, so that it is known before the merge."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
        HfApi().whoami()
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot upload to '{repository}': {_first_line(error)} (log in with 'hf auth login')"
        ) from error


def upload(folder: Path, repository: str) -> str:
    """Uploads a model folder, as a private repository if it is a new one; returns its address."""
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Upload a merged model")
    except (OSError, ValueError) as error:
        raise UserError(f"the merged model is in {folder}, but its upload failed: {_first_line(error)}") from error
    return str(address)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
