"""A few inputs of every kind that `benchmarks/fuzz.py` tries many of, the same in every run of the tests."""

import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mu_lightning.utilities.errors import UserError

sys.path.insert(0, str(Path(__file__).parent))

from fuzzing import FUZZED


@pytest.mark.parametrize("what", FUZZED)
@settings(max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_it_is_read_or_refused_in_one_line(what: str, data: st.DataObject) -> None:
    content = data.draw(FUZZED[what].files)
    with tempfile.TemporaryDirectory() as folder:
        try:
            FUZZED[what].read(content, Path(folder))
        except UserError as error:
            said = str(error)
        else:
            said = "read"
        assert len(said.splitlines()) == 1
