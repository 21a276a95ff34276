"""The rows of each step, the same for every way of `training_ways`."""

from pathlib import Path
from typing import Any

from training_task import Task


def stretched(rows: list[list[int]], length: int) -> list[list[int]]:
    """Rows of exactly `length` tokens: each goes on with the rows that follow it, and ends as it ended."""
    found = []
    for place, row in enumerate(rows):
        tokens, following = row[:-1], place
        while len(tokens) < length - 1:
            following = (following + 1) % len(rows)
            tokens = tokens + rows[following][1:-1]
        found.append([*tokens[: length - 1], row[-1]])
    return found


def stretched_rows(rows: Any, length: int) -> Any:
    """The same of our encoded rows."""
    from dataclasses import replace

    import numpy as np

    parts = [part.tolist() for part in np.split(rows.tokens, rows.offsets[1:-1])]
    tokens = np.array(stretched(parts, length), dtype=rows.tokens.dtype)
    return replace(rows, tokens=tokens.reshape(-1), offsets=np.arange(len(parts) + 1) * length)


def batches_of(task: Task) -> tuple[Any, Any, dict[str, list[list[dict[str, Any]]]]]:
    """The base, its tokenizer, and locale -> the rows of each batch, tokenized but not padded."""
    from mu_lightning.checkpoints import load_base, load_tokenizer
    from mu_lightning.data.module import IntentDataModule
    from mu_lightning.data.registry import open_corpus
    from mu_lightning.settings import CorpusSettings, DataSettings

    corpus = open_corpus(CorpusSettings(task.corpus, None if task.data_dir is None else Path(task.data_dir)))
    tokenizer = load_tokenizer(task.base)
    settings = DataSettings(
        corpus=task.corpus,
        batch_size=task.batch_size,
        max_length=task.max_length,
        limit_train=task.batch_size * task.epoch_steps,
    )
    data = IntentDataModule(corpus, tokenizer, settings, {tag: (tag,) for tag in task.locales})
    found = {}
    for tag in task.locales:
        rows = data.rows(tag, "train")
        tokens = tokenizer(list(rows.texts), truncation=True, max_length=task.max_length)["input_ids"]
        if task.length is not None:
            tokens = stretched(tokens, task.length)
            data._encoded[tag, "train"] = stretched_rows(data.encoded(tag, "train"), task.length)
        sampler: Any = data.member_loader(tag).sampler
        order = []
        for epoch in range(task.epochs):
            sampler.set_epoch(epoch)
            order += [list(share.rows) for share in sampler]
        if any(len(batch) != task.batch_size for batch in order) or len(order) != task.steps:
            raise SystemExit(f"{tag}: batches of {sorted(set(map(len, order)))}, {len(order)} in all")
        items = [
            {
                "input_ids": tokens[row],
                "attention_mask": [1] * len(tokens[row]),
                "labels": rows.labels[row],
            }
            for row in range(len(rows))
        ]
        found[tag] = [[items[row] for row in batch] for batch in order]
    return load_base(task.base, corpus.label_names, 0), tokenizer, found
