"""What model folders say of themselves."""

import json
from pathlib import Path

import pytest

from mu_lightning.results.model_records import recorded_base, recorded_corpus, recorded_supervision
from mu_lightning.utilities.errors import UserError


def folder(path: Path, base: str = "xlm-roberta-base", corpus: str = "cldr") -> Path:
    path.mkdir()
    details = {"locales": [path.name], "config": {"model": {"base": base}, "data": {"corpus": corpus}}}
    (path / "training_details.json").write_text(json.dumps(details))
    return path


def test_what_all_sources_name_is_taken(tmp_path: Path) -> None:
    folders = {tag: folder(tmp_path / tag) for tag in ("nl-NL", "de-DE")}
    assert recorded_base(folders) == "xlm-roberta-base"
    assert recorded_corpus(folders) == "cldr"
    other = folders | {"en-US": folder(tmp_path / "en-US", base="org/other", corpus="massive")}
    with pytest.raises(UserError, match=r"disagree on the corpus .*cldr.*massive.*--corpus"):
        recorded_corpus(other)
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"sv-SE does not say the base model .*--base"):
        recorded_base({"sv-SE": tmp_path / "none"})
    gone = str(tmp_path / "gone")
    with pytest.raises(UserError, match="which is not here: name the base model by --base"):
        recorded_base({"x": folder(tmp_path / "x", base=gone)})


def test_what_a_model_has_seen_of_a_locale(tmp_path: Path) -> None:
    trained = folder(tmp_path / "nl-NL")
    assert recorded_supervision(trained, "nl-NL") == "target-labels"
    assert recorded_supervision(trained, "af-ZA") == "none"
    merged = tmp_path / "merged"
    merged.mkdir()
    details = {"target": "af-ZA", "supervision": "target-unlabelled", "sources": [{"source": "nl-NL"}]}
    (merged / "merge_details.json").write_text(json.dumps(details))
    seen = {tag: recorded_supervision(merged, tag) for tag in ("af-ZA", "nl-NL", "sw-KE")}
    assert seen == {"af-ZA": "target-unlabelled", "nl-NL": "target-labels", "sw-KE": "none"}
    del details["target"]
    (merged / "merge_details.json").write_text(json.dumps(details | {"data": {"target": "sw-KE"}}))
    assert recorded_supervision(merged, "sw-KE") == "target-unlabelled"
    assert recorded_supervision("org/model", "af-ZA") == "none"


@pytest.mark.parametrize("name", ["training_details.json", "merge_details.json"])
@pytest.mark.parametrize(
    "content", ["", "[]", "[" * 10**5, '{"locales": "nl-NL", "sources": 5}', '{"locales": [1], "sources": [1]}']
)
def test_a_record_that_cannot_be_read_says_nothing_of_what_was_seen(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=name):
        recorded_supervision(tmp_path, "nl-NL")
    with pytest.raises(UserError, match=r"does not say the base model .*--base"):
        recorded_base({"nl-NL": tmp_path})
