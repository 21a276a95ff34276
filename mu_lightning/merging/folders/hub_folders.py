"""Downloads from and uploads to the Hugging Face hub."""

from pathlib import Path

from mu_lightning.merging.folders.tokenizer_files import TOKENIZER_CONFIG, TOKENIZER_FILES
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.resources import resource

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_NEEDED = ["config.json", "training_details.json", *_WEIGHTS, TOKENIZER_CONFIG, *TOKENIZER_FILES]


def local_folder(model: Path | str) -> Path:
    """Returns the folder of a model: a local path, a bundled resource, or a hub snapshot, also ``id@revision``.

    Raises:
        UserError: the model is neither a folder nor on the hub, or the hub is unreachable.
    """
    folder = resource(model)
    if folder.is_dir():
        return folder
    if isinstance(model, Path) or model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise UserError(f"no model folder at {model}")
    from huggingface_hub import snapshot_download

    try:
        name, _, revision = model.partition("@")
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=_NEEDED))
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot download the model '{model}' from the Hugging Face hub ({_first_line(error)}): "
            "check the network connection, or give a folder"
        ) from error


def check_upload(repository: str) -> None:
    """Raises UserError if uploads to a repository are not possible; called before the merge."""
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
    """Uploads a model folder and returns its URL; a new repository is private."""
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
