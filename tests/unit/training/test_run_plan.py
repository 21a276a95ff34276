"""A run is settled and checked before anything long begins."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mu_lightning.locales import LOCALES
from mu_lightning.settings import DataSettings, LoraSettings, MergeSettings, ModelSettings
from mu_lightning.training.members import POOLED, name_of
from mu_lightning.training.run_plan import is_first_process
from mu_lightning.utilities.errors import UserError

SOURCES = ["nl-NL", "de-DE", "en-US"]


def test_each_locale_is_a_member_with_a_folder_of_its_own(plan: Any) -> None:
    found = plan(locales=["nl-NL,de-DE"])
    assert found.members == {"nl-NL": ("nl-NL",), "de-DE": ("de-DE",)}
    assert found.exports == {tag: Path(f"models/tiny-0.0_small_{tag}") for tag in ("nl-NL", "de-DE")}
    assert found.target is None
    assert found.seed == 3
    assert found.output_dir == Path("runs/tiny-0.0_small_2-locales")
    assert plan(locales="nl-NL").output_dir == Path("runs/tiny-0.0_small_nl-NL")


def test_a_target_chooses_its_nearest_sources_and_exports_no_member(plan: Any) -> None:
    found = plan(target_lang="af-ZA")
    assert found.target == "af-ZA"
    assert tuple(found.members) == found.sources.sources
    assert len(found.members) == 2
    assert "af-ZA" not in found.members
    assert found.exports == {}
    assert found.output_dir == Path("runs/tiny-0.0_small_af-ZA")
    assert tuple(plan(target_lang="af-ZA", locales=SOURCES).members) == tuple(SOURCES)


def test_several_targets_have_their_own_sources_and_share_the_members(plan: Any) -> None:
    found = plan(target_lang="af-ZA", target_languages=["en-US, af-ZA"], num_languages=2)
    assert [sources.target for sources in found.targets] == ["af-ZA", "en-US"]
    assert found.target == "af-ZA"
    for sources in found.targets:
        assert set(sources.sources) == {"nl-NL", "de-DE"}, "no target is a source"
        assert sum(sources.weights.values()) == pytest.approx(1)
    assert found.targets[0].weights != found.targets[1].weights
    assert set(found.members) == {"nl-NL", "de-DE"}
    assert found.output_dir == Path("runs/tiny-0.0_small_af-ZA+en-US")
    assert plan(target_languages=["en-US"]).target == "en-US"


def test_a_multilingual_run_has_one_member_of_all_locales(plan: Any) -> None:
    found = plan(locales=SOURCES, multilingual=True)
    assert found.members == {POOLED: tuple(SOURCES)}
    assert found.exports == {POOLED: Path("models/tiny-0.0_small_multilingual")}


def test_leaving_locales_out_trains_on_the_others_and_scores_those_unseen(plan: Any) -> None:
    found = plan(exclude=["af-ZA,en-US"])
    assert found.members == {"de-DE": ("de-DE",), "nl-NL": ("nl-NL",)}
    assert found.unseen == dict.fromkeys(found.members, ("af-ZA", "en-US"))
    pooled = plan(exclude="af-ZA", multilingual=True)
    assert pooled.members == {"without-af-ZA": ("en-US", "de-DE", "nl-NL")}
    assert pooled.exports == {"without-af-ZA": Path("models/tiny-0.0_small_without-af-ZA")}
    assert plan(locales="all", exclude=["nl-NL"]).members.keys() == {"af-ZA", "de-DE", "en-US"}
    assert plan(locales=SOURCES, exclude="nl-NL", output_dir=Path("x")).members.keys() == {"de-DE", "en-US"}


def test_a_name_that_holds_many_locales_stays_a_legal_file_name(plan: Any) -> None:
    many = [tag for tag in LOCALES if tag != "sq-AL"]
    assert name_of(many[:2]) == "af-ZA+am-ET"
    assert len(name_of(many)) < 80
    assert name_of(many) != name_of([*many[:-1], "sq-AL"]), "the hash tells apart what the names do not"
    assert name_of(many) == name_of([*many[:20], *reversed(many[20:])]), "which they are matters, not their order"
    assert plan(exclude=["en-US,de-DE"], multilingual=True).members.keys() == {"without-en-US+de-DE"}


def test_one_model_on_the_sources_of_several_targets_is_called_as_for_one(plan: Any) -> None:
    targets = {"target_languages": ["af-ZA"], "exclude": ["en-US"], "multilingual": True}
    assert plan(**targets).members == {POOLED: ("nl-NL", "de-DE")}


def test_all_leave_one_out_trains_a_model_for_each_left_out_locale(plan: Any) -> None:
    found = plan(all_leave_one_out=True)
    assert found.members == {
        "without-af-ZA": ("en-US", "de-DE", "nl-NL"),
        "without-de-DE": ("af-ZA", "en-US", "nl-NL"),
        "without-en-US": ("af-ZA", "de-DE", "nl-NL"),
        "without-nl-NL": ("af-ZA", "en-US", "de-DE"),
    }
    assert found.unseen["without-nl-NL"] == ("nl-NL",)
    assert plan(locales=SOURCES, all_leave_one_out=True).members["without-nl-NL"] == ("de-DE", "en-US")


def test_a_targets_sources_leave_out_what_is_excluded_and_may_be_pooled(plan: Any) -> None:
    nearest = plan(target_lang="af-ZA").members
    first = next(iter(nearest))
    assert first not in plan(target_lang="af-ZA", exclude=first).members
    pooled = plan(target_lang="af-ZA", multilingual=True)
    assert pooled.members == {POOLED: tuple(nearest)}
    assert not pooled.merges
    assert pooled.exports == {}
    assert plan(target_lang="af-ZA").merges


def test_members_are_copies_of_one_base_with_one_head(plan: Any) -> None:
    module = plan(locales=SOURCES).joint(SOURCES)
    states = [module.member(name).model.state_dict() for name in SOURCES]
    for key in states[0]:
        assert torch.equal(states[0][key], states[1][key])
        assert states[0][key].data_ptr() != states[1][key].data_ptr()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "nothing to train: set --locales, or --target-lang"),
        ({"locales": ["nl-NL", "nl-NL"]}, "the locale nl-NL is named twice"),
        ({"locales": ["nl-BE"]}, "the corpus small has no locale 'nl-BE': did you mean nl-NL?"),
        ({"locales": ["fr-FR"]}, "the corpus small has no locale 'fr-FR' (French): it has af-ZA, de-DE, en-US"),
        ({"target_lang": "af-AZ"}, "the corpus small has no locale 'af-AZ': did you mean af-ZA?"),
        ({"target_lang": "Afrikaans"}, "is a language's name, not its tag: write af or af-ZA"),
        ({"multilingual": True, "target_lang": "af-ZA", "compare": True}, "--multilingual does not merge"),
        ({"exclude": ["af-AZ"]}, "--exclude af-AZ: the corpus small has no locale 'af-AZ': did you mean af-ZA?"),
        ({"exclude": ["fr-FR"]}, "--exclude fr-FR: the corpus small has no locale 'fr-FR' (French): it has af-ZA"),
        ({"locales": ["nl-NL"], "exclude": ["nl-NL"]}, "--exclude removes every locale of nl-NL"),
        ({"target_lang": "af-ZA", "all_leave_one_out": True}, "remove --target-lang"),
        ({"multilingual": True, "all_leave_one_out": True}, "remove --multilingual"),
        ({"locales": ["nl-NL"], "all_leave_one_out": True}, "needs at least two locales"),
        ({"all_leave_one_out": True, "model": ModelSettings(patience=2)}, "share dev splits"),
        ({"locales": SOURCES, "compare": True}, "--compare needs a target"),
        ({"target_lang": "af-ZA", "tune": "sources"}, "--tune is of the merge that --compare adds: add --compare"),
        (
            {
                "target_lang": "af-ZA",
                "model": ModelSettings(adapter="lora"),
                "merge": MergeSettings(adapter="folded", sync="pull"),
            },
            "which a shared base cannot hold",
        ),
        (
            {"locales": SOURCES, "model": ModelSettings(adapter="lora", lora=LoraSettings(r=1000))},
            "model.lora.r is 1000: expected a rank of at most",
        ),
        (
            {"locales": SOURCES, "model": ModelSettings(patience=1), "trainer": {"limit_val_batches": 0}},
            "--model.patience 1: expected dev evaluation",
        ),
        ({"locales": SOURCES, "trainer": {"strategy": "fsdp"}}, "unsupported strategy fsdp"),
        (
            {
                "locales": SOURCES,
                "model": ModelSettings(members_in_memory=1),
                "trainer": {"limit_train_batches": 4, "overfit_batches": 0.0, "fast_dev_run": False},
            },
            "--trainer.limit_train_batches is not supported with --members-in-memory",
        ),
        ({"target_lang": "nl-NL", "locales": SOURCES}, "the target nl-NL is among its sources"),
        ({"target_lang": "af-ZA", "num_languages": 9}, "9"),
        ({"target_lang": "af-ZA", "merge": MergeSettings("liner")}, "did you mean linear"),
        ({"target_lang": "af-ZA", "merge": MergeSettings("linear", {"lam": 1})}, "unknown parameter of linear 'lam'"),
        ({"target_lang": "af-ZA", "merge": MergeSettings(schedule="adaptiv")}, "did you mean adaptive"),
        (
            {"target_lang": "af-ZA", "merge": MergeSettings(schedule="every-steps:m=2")},
            "unknown parameter of every-steps",
        ),
        ({"target_lang": "af-ZA", "merge": MergeSettings(sync="pul")}, "unknown merge.sync 'pul': did you mean pull"),
        (
            {"target_lang": "af-ZA", "merge": MergeSettings(outer="nesterov", sync="none")},
            "members that follow the merged model",
        ),
        ({"target_lang": "af-ZA", "merge": MergeSettings(schedule="plateau", score_epochs=False)}, "uses the scores"),
        (
            {"target_lang": "af-ZA", "merge": MergeSettings("magmax", reweight="target-dev")},
            "magmax does not use weights",
        ),
        ({"target_lang": "af-ZA", "target_languages": ["nl-NL"], "locales": SOURCES}, "the target nl-NL is among the"),
        (
            {"target_lang": "af-ZA", "locales": SOURCES, "merge": MergeSettings("slerp")},
            "slerp accepts at most 2 sources, got 3",
        ),
        ({"target_lang": "af-ZA", "merge": MergeSettings("fisher")}, "not available during training"),
        ({"locales": SOURCES, "data": DataSettings(corpus="smal")}, "unknown corpus 'smal': did you mean small"),
        ({"locales": SOURCES, "model": ModelSettings(base="./nowhere")}, "no model folder at nowhere"),
    ],
)
def test_what_would_fail_later_fails_now_and_leaves_nothing(
    plan: Any, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan(**changes)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_wandb_without_an_account_is_refused_unless_offline(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(UserError, match=r"run 'wandb login', or set WANDB_MODE=offline"):
        plan(locales=SOURCES, enable_wandb=True)
    monkeypatch.setenv("WANDB_MODE", "offline")
    plan(locales=SOURCES, enable_wandb=True)
    monkeypatch.delenv("WANDB_MODE")
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n")
    plan(locales=SOURCES, enable_wandb=True)


def test_a_folder_that_holds_something_is_refused_and_so_is_a_model_that_exists(plan: Any, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    plan(locales=["nl-NL"], output_dir=Path("out"))  # an empty folder will do
    (tmp_path / "out" / "results.json").write_text("{}")
    with pytest.raises(UserError, match="out already holds a result"):
        plan(locales=["nl-NL"], output_dir=Path("out"))
    (tmp_path / "models" / "tiny-0.0_small_nl-NL").mkdir(parents=True)
    (tmp_path / "models" / "tiny-0.0_small_nl-NL" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="already holds a model"):
        plan(locales=["nl-NL"])
    plan(locales=["de-DE"])


def test_a_run_that_was_cut_short_may_be_resumed(plan: Any, tmp_path: Path) -> None:
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)
    assert plan(locales=["nl-NL"], output_dir=Path("out"), resume=True).output_dir == Path("out")


@pytest.mark.parametrize("name", ["LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"])
def test_only_the_first_process_refuses_what_the_first_has_begun(
    plan: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert is_first_process()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "begun").write_text("")
    monkeypatch.setenv(name, "1")
    assert not is_first_process()
    plan(locales=["nl-NL"], output_dir=Path("out"))
    monkeypatch.setenv(name, "0")
    assert is_first_process()


def test_every_row_is_read_before_training(plan: Any, corpus: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[tuple[str, str]] = set()
    rows = corpus.rows

    def noting(locale: str, split: Any) -> Any:
        read.add((locale, split))
        return rows(locale, split)

    monkeypatch.setattr(corpus, "rows", noting)
    plan(target_lang="af-ZA", locales=["nl-NL", "de-DE"])
    splits = ("train", "dev", "test")
    assert read == {(locale, split) for locale in ("af-ZA", "nl-NL", "de-DE") for split in splits}


def test_members_hold_the_pieces_of_the_run_s_texts_and_others_none(plan: Any, tiny_base: Path) -> None:
    found = plan(locales=["nl-NL,de-DE"])
    assert found.subset is not None
    data = found.data(found.members)
    texts = [data.encoded(tag, split).tokens for tag in found.members for split in ("train", "dev", "test")]
    special = {0, 1, *found.tokenizer.all_special_ids}
    assert set(found.subset.vocabulary.kept) == special.union(*map(set, texts))
    assert found.vocabulary_used == f"vocabulary used: {len(found.subset.vocabulary)} of 400 tokens"
    member = found.joint(["nl-NL"]).member("nl-NL")
    assert len(member.model.get_input_embeddings().weight) == len(found.subset.vocabulary) < 400
    assert len(member.plain().model.get_input_embeddings().weight) == 400
    with pytest.raises(UserError, match=r"af-ZA test of small .*--model.vocabulary full"):
        data.eval_loaders("test", ["af-ZA"])


def test_what_is_only_scored_counts_and_so_do_a_target_s_own_train_rows(plan: Any) -> None:
    alone = plan(locales=["nl-NL,de-DE"]).subset.vocabulary
    unseen = plan(locales=["nl-NL,de-DE,en-US"], exclude=["en-US"], multilingual=True).subset.vocabulary
    target = plan(locales=["nl-NL,de-DE"], target_lang="af-ZA").subset.vocabulary
    compared = plan(locales=["nl-NL,de-DE"], target_lang="af-ZA", compare=True).subset.vocabulary
    assert set(alone.kept) < set(unseen.kept)
    assert set(alone.kept) < set(target.kept)
    assert compared.fingerprint == target.fingerprint != alone.fingerprint
    data = plan(locales=["nl-NL,de-DE"], target_lang="af-ZA").data({"af-ZA": ("af-ZA",)})
    data.train_dataloader()
    data.eval_loaders("test", ["af-ZA"])


def test_the_whole_table_is_held_on_request_and_then_no_text_is_refused(plan: Any, tiny_base: Path) -> None:
    found = plan(locales=["nl-NL,de-DE"], model=ModelSettings(base=str(tiny_base), vocabulary="full"))
    assert not found.subset.trimmed
    assert found.vocabulary_used == "full vocabulary"
    assert len(found.joint(["nl-NL"]).member("nl-NL").model.get_input_embeddings().weight) == 400
    found.data(found.members).eval_loaders("test", ["af-ZA"])
    settings = ModelSettings(base=str(tiny_base), vocabulary="full", decay_unused=True)
    assert plan(locales=["nl-NL,de-DE"], model=settings).subset is None
    with pytest.raises(UserError, match=r"--model.decay_unused needs --model.vocabulary full"):
        ModelSettings(decay_unused=True)
