"""Model folders in Hugging Face layout: finding source models, loading and saving models."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mu_lightning.loading import check_finite_model, loading, located
from mu_lightning.locales import LOCALES, is_language
from mu_lightning.merging.folders.labels import class_names, class_order, output_layer
from mu_lightning.settings import DEFAULT_MODELS_DIR
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.files import atomic_folder, write_json
from mu_lightning.utilities.reading import read_csv_rows

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

CSV_MODEL_COLUMNS = ("path", "model", "model_name", "hub_id")


def model_folder_name(base: str, corpus: str, locale: str) -> str:
    """Name of the folder of a source model: ``<base>_<corpus>_<locale>``.

    >>> model_folder_name("checkpoints/xlm-r-cldr", "cldr", "sq-AL")
    'xlm-r-cldr_cldr_sq-AL'
    """
    return f"{Path(base).resolve().name if Path(base).exists() else Path(base).name}_{corpus}_{locale}"


def source_models(
    models_dir: Path | None = None, models_csv: Path | None = None, corpus: str | None = None, base: str | None = None
) -> dict[str, Path | str]:
    """Finds source models: locale -> folder or hub id.

    Args:
        models_dir: folder with model folders named ``<base>_<corpus>_<locale>``; default: ``checkpoints``.
        models_csv: alternatively, a table with the columns ``locale`` and ``path`` (a folder, relative to the table, or
            a hub id).
        corpus: restrict to models of this corpus.
        base: restrict to models of this base.

    Raises:
        UserError: no models, an unknown or repeated locale, or models of several bases or corpora that `corpus` and
            `base` do not distinguish.
    """
    if models_csv is not None:
        return _from_csv(models_csv)
    folder = models_dir or DEFAULT_MODELS_DIR
    if not folder.is_dir():
        raise UserError(
            f"no source model found: there is no folder {folder.resolve()}; train source models with 'fit "
            "--locales ...', or set --models-dir or --models-csv"
        )
    families: Mapping[str, dict[str, Path | str]] = defaultdict(dict)
    for config in sorted(folder.glob("*_*/config.json")):
        family, _, tag = config.parent.name.rpartition("_")
        if _is_locale(tag, config.parent) and _belongs(family, corpus, base):
            families[family][tag] = config.parent
    exact = {name: found for name, found in families.items() if name == f"{Path(base or '').name}_{corpus}"}
    families = exact or families
    if not families:
        which = "".join(f", {name} '{value}'" for name, value in (("corpus", corpus), ("base", base)) if value)
        raise UserError(
            f"no source model found in {folder.resolve()}: looked for folders <base>_<corpus>_<locale> with a "
            f"config.json{which}; train them with 'fit --locales ...', or name another place with --models-dir or "
            "--models-csv"
        )
    if len(families) > 1:
        raise UserError(
            f"{folder} holds models of several kinds ({', '.join(sorted(families))}): "
            "choose one with --corpus and --base"
        )
    return dict(next(iter(families.values())))


def _is_locale(tag: str, folder: Path) -> bool:
    # Many short words are language codes: outside the table, only models of `fit` are recognized.
    return tag in LOCALES or (is_language(tag) and (folder / "training_details.json").is_file())


def _belongs(family: str, corpus: str | None, base: str | None) -> bool:
    # Published collections append a name to the corpus ("xlm-roberta-base_massive_k").
    parts = family.split("_")
    return (corpus is None or corpus in parts[1:]) and (base is None or family.startswith(f"{Path(base).name}_"))


def _from_csv(path: Path) -> dict[str, Path | str]:
    if not path.is_file():
        raise UserError(f"no list of source models at {path}")
    header, *rows = read_csv_rows(path)
    named = [name for name in CSV_MODEL_COLUMNS if name in header.cells]
    if not named or not rows or "locale" not in header.cells:
        raise UserError(f"{path} is not a list of source models: expected a header with 'locale' and 'path', and rows")
    if len(named) > 1:
        raise UserError(f"{path} has several columns of paths ({', '.join(named)}): keep one")
    models: dict[str, Path | str] = {}
    for row in rows:
        tag, where = (row.cells[header.cells.index(name)] for name in ("locale", named[0]))
        if not is_language(tag) or tag in models:
            problem = "twice" if tag in models else "which is not a known locale"
            raise UserError(f"{path}, line {row.line} lists '{tag}' {problem}")
        if not where:
            raise UserError(f"{path}, line {row.line}: no {named[0]} is given for '{tag}'")
        local = path.parent / where
        if local.is_dir():
            models[tag] = local
        elif where.count("/") <= 1 and not where.startswith((".", "/")):
            models[tag] = where  # a hub id
        else:
            raise UserError(f"{path}, line {row.line} lists {where} for '{tag}', which is not a folder")
    return models


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences reports and progress bars of transformers: a new head is expected. Errors are still raised."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_tokenizer(source: str | Path) -> "PreTrainedTokenizerBase":
    """Loads the tokenizer of a model folder or hub id; raises UserError on failure."""
    from transformers import AutoTokenizer

    with loading(source, "tokenizer") as where, quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        raise UserError(
            f"the tokenizer of {source} has no padding token, which batches of texts need: name one in its "
            "tokenizer_config.json (pad_token), and its id in the model's config.json (pad_token_id)"
        )
    return tokenizer


def load_config(source: str | Path) -> "PreTrainedConfig":
    """Loads the config of a model folder or hub id; raises UserError on failure."""
    from transformers import AutoConfig

    with loading(source, "config") as where, quiet_transformers():
        return AutoConfig.from_pretrained(where, trust_remote_code=False)


def load_base(source: str | Path, label_names: tuple[str, ...], seed: int) -> "PreTrainedModel":
    """Creates a classifier on a base encoder, in float32, with a randomly initialized head.

    Args:
        source: model folder or hub id.
        label_names: class names, for ``id2label``.
        seed: random seed of the head, independent of the global random state.

    Raises:
        UserError: the base is neither a folder nor on the hub, or the hub is unreachable.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    labels = dict(enumerate(label_names))
    with torch.random.fork_rng(devices=[]), quiet_transformers(), loading(source, "model") as where:
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(where, trust_remote_code=False)
        own = class_names({"id2label": config.id2label}, str(source)) if _is_classifier(config) else None
        if own is not None and sorted(own) != sorted(label_names):
            raise UserError(
                f"{source} is a classifier of other labels ({len(own)}: {own[0]}, ...) "
                f"than the corpus' {len(labels)}: name the base that it was trained from"
            )
        model = AutoModelForSequenceClassification.from_pretrained(
            where,
            num_labels=len(labels),
            id2label=labels,
            label2id={name: index for index, name in labels.items()},
            dtype=torch.float32,
            trust_remote_code=False,
        )
    check_finite_model(source, model)
    if own is not None:
        model.config.id2label, model.config.label2id = dict(enumerate(own)), {n: i for i, n in enumerate(own)}
        reorder_classes(model, label_names)
    return model.train()  # transformers returns models in evaluation mode


def _is_classifier(config: "PreTrainedConfig") -> bool:
    return any("SequenceClassification" in name for name in config.architectures or ())


def weights_file(source: str | Path) -> Path | None:
    """Returns the safetensors file of a model folder or cached hub id; None unless it is a single file."""
    from huggingface_hub import try_to_load_from_cache
    from transformers.utils import SAFE_WEIGHTS_NAME

    where = Path(located(source))
    if where.is_dir():
        found = where / SAFE_WEIGHTS_NAME
        return found if found.is_file() else None
    cached = try_to_load_from_cache(str(source), SAFE_WEIGHTS_NAME)
    return Path(cached) if isinstance(cached, str) else None


def load_classifier(source: str | Path, labels: Sequence[str] | None = None) -> "PreTrainedModel":
    """Loads a classifier from a model folder or hub id, in float32; raises UserError on failure.

    Args:
        source: a model folder or hub id.
        labels: the required order of the classes; ignored if the classes differ.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    with quiet_transformers(), loading(source, "model") as where:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            where, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
    if report["missing_keys"]:
        lacking = ", ".join(sorted(report["missing_keys"]))
        raise UserError(f"{source} is not a trained classifier: it lacks {lacking}; train one with fit")
    check_finite_model(source, model)
    reorder_classes(model, label_names(model) if labels is None else labels)
    return model


def load_encoder(source: str | Path) -> "PreTrainedModel":
    """Loads the encoder of a base or classifier, in float32; raises UserError on failure.

    Args:
        source: model folder or hub id.
    """
    import torch
    from transformers import AutoModel

    with quiet_transformers(), loading(source, "model") as where:
        model, report = AutoModel.from_pretrained(
            where, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
        )
    # A missing pooler is initialized randomly, but not used.
    lacking = [name for name in sorted(report["missing_keys"]) if not name.startswith("pooler.")]
    if lacking:
        raise UserError(f"{source} is not an encoder: it lacks {', '.join(lacking[:4])}")
    check_finite_model(source, model)
    return model


def save_model(
    folder: Path,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    details: Mapping[str, object],
    more: Callable[[Path], None] | None = None,
) -> None:
    """Saves a model folder atomically: config, safetensors, tokenizer and ``training_details.json``.

    Args:
        folder: the model folder.
        model: the model.
        tokenizer: the tokenizer.
        details: training details, as plain values.
        more: writes further files before the folder is renamed.

    Raises:
        UserError: the folder exists.
    """
    forget_lengths(tokenizer)
    with atomic_folder(folder, "a model") as temporary, quiet_transformers():
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        write_json(temporary / "training_details.json", details)
        if more is not None:
            more(temporary)


def forget_lengths(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Makes a tokenizer neither truncate nor pad by itself, as the last call asked it to: it would be saved so."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()


def reorder_classes(model: "PreTrainedModel", wanted: Sequence[str]) -> None:
    """Puts a classifier's classes in the wanted order, in place; one of other classes stays as it is.

    Raises:
        UserError: its classes are not named once each, or its last layer is not known.
    """
    what = model.name_or_path or "the model"
    order = class_order(label_names(model), wanted)
    if order is None:
        return
    state = model.state_dict()
    for name in output_layer({name: tensor.shape for name, tensor in state.items()}, len(order), what):
        state[name].copy_(state[name][list(order)])
    model.config.id2label = dict(enumerate(wanted))
    model.config.label2id = {name: index for index, name in enumerate(wanted)}


def label_names(model: "PreTrainedModel") -> tuple[str, ...]:
    """The names of a classifier's classes, in the order of their indices; raises UserError unless each has one."""
    return class_names({"id2label": model.config.id2label}, model.name_or_path or "the model") or ()
