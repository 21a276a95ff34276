"""Three ways to train a classifier for each of several locales on the same batches, each in a process of its own.

`ours` is what `fit` does: all members in one loop of Lightning's Trainer, with fit's callbacks; only nothing is
validated and no checkpoint is written, as the others don't either. `Trainer` is transformers' Trainer, a run a locale,
one after another: its own data loader, DataCollatorWithPadding, adamw_torch_fused, linear decay. `Lightning` is a plain
LightningModule a locale, one after another: a DataLoader with the same collator, fused AdamW, linear decay. Model,
head, order of rows, batch, precision, learning rate, weight decay and clipping (1.0) are the same for all.

The clock of a run starts when its first `warm` steps are done and ends with its last step. So nobody's imports,
starting, tokenizing, loading of models or first steps count; what lies between steps (data loading, logging, callbacks)
counts for everybody.
"""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from training_ours import ours
from training_rivals import lightning_modules, transformers_trainer
from training_task import Outcome, Task

WAYS = {"ours": ours, "Trainer": transformers_trainer, "Lightning": lightning_modules}


def run(way: str, task: Task) -> Outcome:
    """Trains in a new process."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_run, way, task).result()


def _run(way: str, task: Task) -> Outcome:
    import logging
    import warnings

    import torch

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    with TemporaryDirectory() as scratch:
        outcome = WAYS[way](task, Path(scratch))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    outcome.memory = int(status["VmHWM"].split()[0]) / 2**20
    if torch.cuda.is_available():
        outcome.device_memory = torch.cuda.max_memory_allocated() / 2**30
    return outcome


if __name__ == "__main__":  # one run by hand: a way, and the task's fields as JSON
    given = json.loads(sys.argv[2])
    given["locales"], given["flags"] = tuple(given["locales"]), tuple(given.get("flags", ()))
    print(run(sys.argv[1], Task(**given)))
