"""Bounds of all numeric settings and arguments, by name.

A new numeric argument needs a line here; a test walks the arguments of all commands.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from mu_lightning.utilities.errors import check_number

_MOST = 2**31 - 1  # sizes and counts fit the 32-bit integers of other libraries


@dataclass(frozen=True)
class Bound:
    """Bounds of a number.

    Attributes:
        least: inclusive minimum.
        most: inclusive maximum.
        above: exclusive minimum.
        below: exclusive maximum.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def check(self, name: str, value: Any) -> None:
        """Raises UserError unless a number, or each of a list, is within the bounds; other values pass.

        Args:
            name: name of the setting, for the error.
            value: the value.
        """
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, int | float) and not isinstance(one, bool):
                given = {bound.name: getattr(self, bound.name) for bound in fields(self)}
                check_number(name, one, **{key: bound for key, bound in given.items() if bound is not None})


SEED = Bound(0, 2**32 - 1)  # the seeds of NumPy and Lightning
COUNT, COUNT_OR_NONE = Bound(1, _MOST), Bound(0, _MOST)
SHARE, NOT_ALL = Bound(0, 1), Bound(0, below=1)
NOT_NEGATIVE, POSITIVE = Bound(0), Bound(above=0)
LENGTH = Bound(3, _MOST)  # two special tokens and one of the text

# Last part of a key -> its bounds; settings of one name have the same bounds everywhere.
BOUNDS: Mapping[str, Bound] = {
    **dict.fromkeys(("seed", "seeds", "seed_everything", "split_seed"), SEED),
    **dict.fromkeys(("batch_size", "train_batch_size", "eval_batch_size", "batch_tokens", "limit_train"), COUNT),
    "max_length": LENGTH,
    **dict.fromkeys(("num_languages", "top_k", "max_locales", "num_fisher_examples"), COUNT),
    "sinkhorn_iters": Bound(0, 100_000),
    "temperature": POSITIVE,
    "abstain_below": SHARE,
    "param_value_mask_rate": NOT_ALL,
    "max_workers": Bound(0, 1024),
    # model
    "learning_rate": POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "warmup": SHARE,
    "label_smoothing": NOT_ALL,
    "patience": COUNT,
    "members_in_memory": COUNT_OR_NONE,
    "r": COUNT,
    "alpha": COUNT,
    "dropout": NOT_ALL,
    # merges
    "frequency": COUNT_OR_NONE,
    "merge_frequency": COUNT_OR_NONE,
    "convergence_threshold": NOT_NEGATIVE,
    "reweight_temperature": POSITIVE,
    "pull_keep": SHARE,
    "rewarm": NOT_NEGATIVE,
    "outer_learning_rate": NOT_NEGATIVE,
    "outer_momentum": SHARE,
    "tolerance": NOT_NEGATIVE,
    "keep_merges": Bound(-1, _MOST),
    # checkpoints and guard
    "every_n_epochs": COUNT_OR_NONE,
    "every_n_steps": COUNT,
    "keep": COUNT_OR_NONE,
    "retries": COUNT_OR_NONE,
    "rate_factor": Bound(above=0, most=1),
    # pretraining
    "vocab_size": Bound(1, 2_000_000),
    "layers": Bound(1, 256),
    "hidden_size": Bound(1, 16_384),
    "heads": Bound(1, 1024),
    "steps": COUNT,
    "pairs": SHARE,
    "mask_rate": Bound(above=0, below=1),
    # Lightning's Trainer; -1 stands for all devices, and for no limit
    "devices": Bound(-1, 1024),
    "num_nodes": Bound(1, 65_536),
    "max_epochs": Bound(-1, _MOST),
    "max_steps": Bound(-1, _MOST),
    **dict.fromkeys(("min_epochs", "min_steps", "fast_dev_run"), COUNT_OR_NONE),
    **dict.fromkeys((f"limit_{part}_batches" for part in ("train", "val", "test", "predict")), COUNT_OR_NONE),
    **dict.fromkeys(("overfit_batches", "gradient_clip_val"), COUNT_OR_NONE),
    "val_check_interval": Bound(above=0, most=_MOST),
    "num_sanity_val_steps": Bound(-1, _MOST),
    **dict.fromkeys(("check_val_every_n_epoch", "accumulate_grad_batches"), COUNT),
    **dict.fromkeys(("log_every_n_steps", "reload_dataloaders_every_n_epochs"), COUNT_OR_NONE),
}


def check_settings(settings: Any, group: str = "") -> None:
    """Raises UserError for a number in a group of settings that is out of its bounds.

    Args:
        settings: a dataclass, or a mapping of names to values.
        group: name of the group, for the error.
    """
    for name, value in _items(settings):
        if name in BOUNDS:
            BOUNDS[name].check(f"{group}.{name}" if group else name, value)


def _items(settings: Any) -> Iterator[tuple[str, Any]]:
    if is_dataclass(settings):
        yield from ((one.name, getattr(settings, one.name)) for one in fields(settings))
    else:
        yield from settings.items()
