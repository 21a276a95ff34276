"""The verb `ensemble`: source models vote on a target's rows, weighted by typology."""

from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser, Namespace

from mu_lightning.errors import UserError
from mu_lightning.files import refuse_existing
from mu_lightning.settings import DataSettings
from mu_lightning.typology.plan import SourcePlan, table
from mu_lightning.verbs.arguments import add_source_arguments, models_from, plan_from

if TYPE_CHECKING:
    from mu_lightning.data.module import IntentDataModule
    from mu_lightning.models.classifier import IntentClassifier

VOTING_METHODS = ("majority", "weighted_majority", "soft", "uriel_logits")


def parser() -> ArgumentParser:
    """The verb's arguments."""
    defaults = DataSettings()
    result = ArgumentParser(
        prog="mu-lightning ensemble",
        description="Lets a target's source models vote on its rows, without merging them: the members' logits are "
        "computed once and shared by all votes. Ends with a table of the votes and of each source alone.",
    )
    result.add_argument("--config", action="config", help="a YAML file with any of these arguments")
    add_source_arguments(result)
    add = result.add_argument
    add("--voting-method", choices=VOTING_METHODS, default=None, help="one vote")
    add("--voting-methods", choices=VOTING_METHODS, nargs="+", default=None, help="several votes; default: all of them")
    add("--corpus", type=str, default=defaults.corpus, help="the corpus to score on, and of the models in --models-dir")
    add("--base", type=str | None, default=None, help="of --models-dir: only models of this base")
    add("--data-dir", type=Path | None, default=None, help="an unpacked MASSIVE release directory")
    add("--split", choices=("dev", "test"), default="test", help="the target's rows to score")
    add("--batch-size", type=int, default=defaults.eval_batch_size, help="rows in one batch")
    add("--max-length", type=int, default=defaults.max_length, help="tokens after which an utterance is cut")
    add("--device", type=str, default="auto", help="where to compute: auto, cpu, cuda")
    add("--output-dir", type=Path | None, default=None, help="write scores and predictions here; refused if it exists")
    return result


def run(argv: list[str]) -> int:
    """Scores and prints the votes; returns the exit status.

    Raises:
        UserError: as of `plan_from`; a source cannot be loaded; label maps or tokenizers differ; the output exists.
    """
    arguments = parser().parse_args(argv)
    if arguments.voting_method and arguments.voting_methods:
        raise UserError("--voting-method names one vote and --voting-methods several: give one of the two")
    if arguments.output_dir is not None:
        refuse_existing(arguments.output_dir)
    plan = plan_from(arguments)
    print(table(plan), flush=True)
    _vote(arguments, plan)
    return 0


def _vote(arguments: Namespace, plan: SourcePlan) -> None:
    import torch

    from mu_lightning.evaluation.loop import evaluate_named
    from mu_lightning.experiments.provenance import data_fingerprints
    from mu_lightning.experiments.results import Result, show, write_results
    from mu_lightning.models.ensemble import Panel

    members, data = _load(arguments, plan)
    votes = [arguments.voting_method] if arguments.voting_method else arguments.voting_methods or VOTING_METHODS
    weights = [plan.weights[name] for name in members]
    panel = Panel(members, {vote: (vote, weights) for vote in votes}, with_members=True)
    available = "cuda" if torch.cuda.is_available() else "cpu"
    panel.to(available if arguments.device == "auto" else arguments.device)
    loaders = data.eval_loaders(arguments.split, [plan.target])
    scores = {name: found[plan.target] for name, found in evaluate_named(panel, loaders).items()}
    details = {"split": arguments.split, "weights": plan.weights}
    results = [Result(f"ensemble, {vote}", scores[vote], details=details) for vote in votes]
    results += [Result(f"source {name}", scores[name], details={"split": arguments.split}) for name in members]
    print("\n" + show(results))
    if arguments.output_dir is not None:
        provenance = {
            "verb": "ensemble",
            "sources": plan.details(),
            "fingerprints": data_fingerprints(data, [plan.target], [arguments.split]),
        }
        write_results(arguments.output_dir, results, provenance)
        print(f"\nscores: {arguments.output_dir / 'results.json'}")


def _load(arguments: Namespace, plan: SourcePlan) -> "tuple[dict[str, IntentClassifier], IntentDataModule]":
    from mu_lightning.checkpoints import load_tokenizer
    from mu_lightning.data.corpus import check_labels
    from mu_lightning.data.encoding import tokenizer_fingerprint
    from mu_lightning.data.module import IntentDataModule
    from mu_lightning.data.registry import open_corpus
    from mu_lightning.models.classifier import IntentClassifier

    corpus = open_corpus(arguments.corpus, arguments.data_dir)
    settings = DataSettings(
        arguments.corpus,
        arguments.data_dir,
        eval_batch_size=arguments.batch_size,
        max_length=arguments.max_length,
    )
    places = models_from(arguments) or {}
    tokenizers = {name: load_tokenizer(places[name]) for name in plan.sources}
    first = plan.sources[0]
    for name, tokenizer in tokenizers.items():
        if tokenizer_fingerprint(tokenizer) != tokenizer_fingerprint(tokenizers[first]):
            raise UserError(f"{places[name]} has another tokenizer than {places[first]}: they cannot vote on one batch")
    data = IntentDataModule(corpus, tokenizers[first], settings, eval_locales=[plan.target])
    data.rows(plan.target, arguments.split)
    members = {}
    for name in plan.sources:
        members[name] = IntentClassifier.from_folder(places[name])
        check_labels(str(places[name]), members[name].label_names, corpus)
    return members, data
