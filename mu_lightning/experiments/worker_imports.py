"""What the server of worker processes imports for all of them."""

import gc

import mu_lightning.approaches.trained
import mu_lightning.experiments.workers  # noqa: F401

# What is imported stays, and is never looked at again: workers then keep sharing the pages that hold it.
gc.collect()
gc.freeze()
