"""The corpus ``hub``: any dataset of the library ``datasets``, from the Hugging Face hub or a local folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mu_lightning.data.splits import split_named
from mu_lightning.data.tables import Columns, TableCorpus, TableRow, plain_value, split_value
from mu_lightning.locales import locale, locale_list
from mu_lightning.settings import CorpusSettings
from mu_lightning.utilities.errors import UserError
from mu_lightning.utilities.hub import settle_hub


def hub_corpus(settings: CorpusSettings) -> TableCorpus:
    """Creates the corpus of a dataset, without loading it.

    Raises:
        UserError: no dataset is given, or the language of rows is unknown.
    """
    if settings.dataset is None:
        raise UserError("--corpus hub needs --dataset: the name of a dataset on the hub, or a local folder")
    if settings.data_dir is not None:
        raise UserError(
            f"--corpus hub reads --dataset: leave out --data-dir {settings.data_dir}, or use --corpus files"
        )
    configs = locale_list(settings.configs) or []
    for config in configs:
        if settings.language_column is None:
            locale(config.replace("_", "-"))
    return TableCorpus("hub", lambda: _rows(settings, configs), settings.split_seed)


def _rows(settings: CorpusSettings, configs: list[str]) -> Iterator[TableRow]:
    columns = Columns.of(settings)
    for config in (*configs,) or (None,):
        for split_name, part in _load(str(settings.dataset), config).items():
            found = columns.find(part.column_names)
            if "language" not in found and config is None:
                raise UserError(
                    f"{settings.dataset} has no column of languages (found {', '.join(part.column_names)}): name it "
                    "with --language-column, or the languages' configurations with --configs en,fr"
                )
            source = " ".join(filter(None, (str(settings.dataset), config, split_name)))
            by_column = "language" in found and ("language" in columns.named or config is None)
            yield from _of_part(part, source, split_name, found, columns, None if by_column else config)


def _of_part(
    part: Any, source: str, split_name: str, found: dict[str, str], columns: Columns, language: str | None
) -> Iterator[TableRow]:
    classes = {column: feature.names for column, feature in part.features.items() if getattr(feature, "names", None)}
    split = split_named(split_name)
    batches = (batch for batch in part.iter(batch_size=1000))
    rows = (dict(zip(batch, cells, strict=True)) for batch in batches for cells in zip(*batch.values(), strict=True))
    for number, values in enumerate(rows, 1):
        where = f"{source}, row {number}"
        for column, names in classes.items():
            index = values[column]
            values[column] = None if index is None or index < 0 else names[index]  # -1: unlabeled test rows
        cells = {what: plain_value(values[column], where, column) for what, column in found.items() if what != "text"}
        tag = language if language is not None else cells["language"]
        if tag is None:
            raise UserError(f"{where}: no language")
        tag = tag.replace("_", "-")
        _check_language(tag, where)
        named = cells.get("split")
        yield TableRow(
            where,
            tag,
            split_value(named, where, found["split"]) if named is not None else split,
            cells.get("id"),
            columns.text_of(values, found, where),
            cells.get("label"),
        )


def _check_language(tag: str, where: str) -> None:
    try:
        locale(tag)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _load(name: str, config: str | None) -> dict[str, Any]:
    """Loads a dataset: split -> table; a single table has no splits."""
    import datasets

    datasets.disable_progress_bars()
    try:
        if (Path(name) / "dataset_dict.json").is_file() or (Path(name) / "dataset_info.json").is_file():
            found = datasets.load_from_disk(name)
        else:
            if not Path(name).exists():
                settle_hub()
            found = datasets.load_dataset(name, config)
    except Exception as error:  # many exception types: DNS, configuration, login, format
        lines = str(error).strip().splitlines() or [""]
        raise UserError(
            f"the dataset {' '.join(filter(None, (name, config)))} cannot be loaded ({type(error).__name__}: "
            f"{lines[0]}): check --dataset and --configs, or read local tables with --corpus files"
        ) from error
    if isinstance(found, datasets.DatasetDict):
        return {str(split): part for split, part in found.items()}
    return {"": found}
