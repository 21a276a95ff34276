"""The command `pretrain`: pretrains a small multilingual base on train text of a corpus."""

from dataclasses import asdict
from pathlib import Path

from jsonargparse import Namespace

from mu_lightning import __version__
from mu_lightning.commands.names import CORPUS
from mu_lightning.commands.parsing import OneLineErrors, command_parser
from mu_lightning.settings import EMBEDDED_BASE, CorpusSettings, PretrainSettings
from mu_lightning.utilities.console import quiet_lightning
from mu_lightning.utilities.errors import Interrupted
from mu_lightning.utilities.files import reserved


def parser() -> OneLineErrors:
    """Builds the parser."""
    result = command_parser(
        "pretrain",
        "Pretrains a small XLM-R (tokenizer, config, weights) on unlabeled train text of a corpus in all "
        "locale, by masked and translation language modelling. The defaults reproduce the embedded base.",
    )
    result.add_argument("--output-dir", type=Path, default=EMBEDDED_BASE, help="output folder; must not exist")
    result.add_argument("--corpus", type=CORPUS, default="cldr", help=f"corpus of the train text: {CORPUS.names}")
    result.add_argument("--data-dir", type=Path | None, default=None, help="folder of an unpacked MASSIVE release")
    result.add_argument("--seed", type=int, default=0, help="random seed for initial weights, sequences and masks")
    result.add_argument("--resume", action="store_true", help="resume an interrupted run with the same arguments")
    result.add_class_arguments(PretrainSettings, "size", help="settings of pretraining")
    return result


def run(argv: list[str]) -> int:
    """Trains and saves the base; returns the exit status."""
    arguments = parser().parse_args(argv)
    settings = parser().instantiate(arguments).size
    with reserved(arguments.output_dir, "a model"):
        _pretrain(arguments, settings)
    return 0


def _pretrain(arguments: Namespace, settings: PretrainSettings) -> None:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint
    from torch.utils.data import DataLoader

    from mu_lightning.checkpoints import save_model
    from mu_lightning.data.registry import open_corpus
    from mu_lightning.training.checkpointing.signals import STATUS
    from mu_lightning.training.fitting import fit
    from mu_lightning.training.pretraining import (
        EPOCH_STEPS,
        MaskedBatches,
        Pretraining,
        StepSampler,
        new_model,
        train_tokenizer,
    )

    quiet_lightning()
    corpus = open_corpus(CorpusSettings(arguments.corpus, arguments.data_dir))
    rows = {locale: corpus.rows(locale, "train") for locale in corpus.locales}
    tokenizer = train_tokenizer((text for part in rows.values() for text in part.texts), settings.vocab_size)
    module = Pretraining(new_model(tokenizer, settings, arguments.seed), settings)
    data = MaskedBatches(rows, tokenizer, settings, arguments.seed)
    state = arguments.output_dir.parent / f".{arguments.output_dir.name}.pretraining"
    trainer = Trainer(
        max_steps=settings.steps,
        default_root_dir=state,
        logger=False,
        callbacks=[ModelCheckpoint(state, filename="last", every_n_epochs=2, enable_version_counter=False)],
        enable_model_summary=False,
        use_distributed_sampler=False,
        gradient_clip_val=1.0,
        devices=1,
        log_every_n_steps=EPOCH_STEPS,
    )
    last = state / "last.ckpt"
    loader = DataLoader(data, batch_size=None, sampler=StepSampler())
    try:
        fit(trainer, module, last if arguments.resume and last.is_file() else None, train_dataloaders=loader)
    except KeyboardInterrupt:
        if last.is_file():
            raise Interrupted("SIGINT", STATUS["SIGINT"]) from None
        raise
    # Half precision halves the size; classifiers are loaded in float32.
    save_model(
        arguments.output_dir,
        module.model.half(),
        tokenizer,
        {
            "command": "pretrain",
            "version": __version__,
            "corpus": corpus.name,
            "text": "train split of every locale, without labels",
            "fingerprints": {locale: part.fingerprint for locale, part in rows.items()},
            "seed": arguments.seed,
            "settings": asdict(settings),
        },
    )
    last.unlink(missing_ok=True)
    if state.is_dir() and not any(state.iterdir()):
        state.rmdir()
    print(f"base: {arguments.output_dir}")
