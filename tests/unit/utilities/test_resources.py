"""Shipped files are found from any folder, and never in place of the user's own."""

from pathlib import Path

import pytest

from mu_lightning.utilities import resources
from mu_lightning.utilities.resources import resource, shipped_folder

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_shipped_configuration_is_found_from_another_folder() -> None:
    assert resource("configs/quickstart.yaml") == ROOT / "configs" / "quickstart.yaml"
    assert resource(Path("configs/quickstart.yaml")).is_file()


def test_the_users_own_file_of_that_name_comes_first(elsewhere: Path) -> None:
    (elsewhere / "configs").mkdir()
    (elsewhere / "configs" / "quickstart.yaml").write_text("")
    assert resource("configs/quickstart.yaml") == Path("configs/quickstart.yaml")


@pytest.mark.parametrize(
    "given", ["xlm-roberta-base", "cli.py", "tests/conftest.py", "configs/nothing.yaml", "/configs"]
)
def test_what_is_not_shipped_stays_as_it_was_given(given: str) -> None:
    assert resource(given) == Path(given)


def test_a_wheel_carries_them_inside_the_package(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = elsewhere / "package" / "_resources"
    (inside / "configs").mkdir(parents=True)
    (inside / "configs" / "massive.yaml").write_text("")
    monkeypatch.setattr(resources, "_ROOTS", (inside, elsewhere / "nowhere"))
    assert resource("configs/massive.yaml") == inside / "configs" / "massive.yaml"


def test_a_folder_that_comes_with_the_program_is_never_one_of_the_current_folder(elsewhere: Path) -> None:
    (elsewhere / "callbacks").mkdir()
    assert shipped_folder("callbacks") == ROOT / "callbacks"


def test_an_incomplete_installation_says_so(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_ROOTS", (elsewhere / "nowhere",))
    with pytest.raises(FileNotFoundError, match=r"callbacks .* install mu-lightning again"):
        shipped_folder("callbacks")
