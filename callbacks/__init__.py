"""Alias of ``mu_lightning.callbacks`` in a checkout: ``callbacks.merge`` is ``mu_lightning.callbacks.merge``."""

import importlib
import pkgutil
import sys

import mu_lightning.callbacks as package

for found in pkgutil.iter_modules(package.__path__):
    sys.modules[f"{__name__}.{found.name}"] = importlib.import_module(f"{package.__name__}.{found.name}")
sys.modules[__name__] = package
