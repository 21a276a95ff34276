"""The Python API: one table of names, imported when they are used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mu_lightning as mu
from mu_lightning.models.classifier import IntentClassifier
from mu_lightning.settings import TypologySettings
from mu_lightning.typology.plan import plan_sources
from mu_lightning.utilities.errors import UserError

IMPORT = """
import json, sys, time
started = time.process_time()
import mu_lightning as mu
seconds = time.process_time() - started
{more}
print(json.dumps([seconds, sorted({{name.split(".")[0] for name in sys.modules}})]))
"""


def imported(more: str = "") -> tuple[float, set[str]]:
    """The processor seconds that the import takes in a new process, and what is loaded in the end."""
    code = IMPORT.format(more=more)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    seconds, modules = json.loads(done.stdout)
    return seconds, set(modules)


def test_the_import_is_light() -> None:
    seconds, modules = imported()
    assert seconds < 0.3
    assert modules.isdisjoint({"torch", "lightning", "transformers", "numpy", "pandas", "jsonargparse"})


def test_weights_by_typology_need_no_torch() -> None:
    assert imported("mu.source_weights('sq-AL')")[1].isdisjoint({"torch", "lightning", "transformers"})


def test_every_name_of_the_table_is_there_and_listed() -> None:
    assert mu.__all__
    for name in mu.__all__:
        assert getattr(mu, name) is not None
        assert name in dir(mu)
    with pytest.raises(AttributeError, match="module 'mu_lightning' has no attribute 'merge_everything'"):
        _ = mu.merge_everything


def test_weights_are_those_of_the_plan() -> None:
    found = mu.source_weights("sq-AL", ["it-IT", "en-US"], feature_set="family", top_k=10)
    settings = TypologySettings(feature_set="family", top_k=10)
    assert (
        found
        == plan_sources("sq-AL", available=["it-IT", "en-US"], locales=["it-IT", "en-US"], settings=settings).weights
    )
    assert len(mu.source_weights("sq-AL", num_languages=3)) == 3
    assert mu.source_weights("sq-AL", ["it-IT", "en-US"], preweight="equal") == {"it-IT": 0.5, "en-US": 0.5}
    with pytest.raises(UserError, match="'Albanian' is a language's name"):
        mu.source_weights("Albanian")


def test_a_classifiers_folder_is_loaded(models_dir: Path) -> None:
    folder = next(path for path in sorted(models_dir.iterdir()) if path.is_dir())
    model = mu.load(folder)
    (found,) = model.predict(["lamp on"])
    assert found.label in model.label_names
    assert isinstance(model.module, IntentClassifier)
    assert all(torch.isfinite(tensor).all() for tensor in model.module.merge_state().values())
    with pytest.raises(UserError, match="nowhere"):
        mu.load("./nowhere")
