"""Starting: what the first training step does not need is not imported before it."""

import os
import subprocess
import sys
from pathlib import Path

from mu_lightning.utilities.files import write_text

ROOT = Path(__file__).parents[2]
# Each takes from a tenth of a second to seconds. What Lightning and transformers import by themselves is not here.
LATER = {
    *("datasets", "pandas", "pyarrow", "scikit_posthocs", "sklearn", "statsmodels"),
    *("peft", "ray", "tensorboard", "urielplus", "wandb"),
}

FIRST_STEP = """
import os, sys
from lightning.pytorch import Callback

class FirstStep(Callback):
    def on_train_batch_end(self, *given):
        print("imported:", *sorted({name.partition(".")[0] for name in sys.modules}), flush=True)
        os._exit(0)
"""


def test_the_quickstart_reaches_its_first_step_without_what_it_needs_later(tmp_path: Path) -> None:
    write_text(tmp_path / "first_step.py", FIRST_STEP)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    words = ["cli.py", "fit", "--config", "configs/quickstart.yaml", "--output-dir", str(tmp_path / "run")]
    # One callback need not be a list.
    words += ["--trainer.callbacks", "first_step.FirstStep"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("imported: ")] or [done.stderr[-2000:]]
    imported = set(line.split())
    assert {"torch", "lightning", "transformers"} <= imported
    assert not imported & LATER
