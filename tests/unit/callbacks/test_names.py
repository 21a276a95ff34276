"""A callback is one class, by whichever name a checkout imports it."""

import importlib
import pkgutil

import mu_lightning.callbacks as package


def test_both_names_of_a_module_are_one_module() -> None:
    short = importlib.import_module("callbacks.merge")
    assert short is importlib.import_module("mu_lightning.callbacks.merge")
    assert importlib.import_module("callbacks") is package
    assert short.MergeCallback.__module__ == "mu_lightning.callbacks.merge"


def test_the_package_offers_a_class_of_every_file() -> None:
    homes = {getattr(package, name).__module__.rpartition(".")[2] for name in package.__all__}
    assert homes == {found.name for found in pkgutil.iter_modules(package.__path__)}
