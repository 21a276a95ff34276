"""The joint module's own parts: learning rates, parameter groups, clipping, what is scored."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger

from mu_lightning.data import batching
from mu_lightning.data.module import IntentDataModule
from mu_lightning.evaluation.loop import evaluate
from mu_lightning.models.losses import balanced
from mu_lightning.models.optim.rate import Rate

MEMBERS = ("en-US", "de-DE", "nl-NL")


class Rates(Callback):
    """Notes each member's learning rate at each step in which it has a batch."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        for name in batch:
            groups = [group for group in trainer.optimizers[0].param_groups if group["member"] == name]
            (rate,) = {group["lr"] for group in groups}
            self.seen.setdefault(name, []).append(rate)


def rate_of(steps: int, longest: int, epochs: int, warmup: float) -> Rate:
    """The rate of a member of `steps` steps an epoch beside one of `longest`."""
    return Rate([min(step, steps) for step in range(longest + 1)], [0], epochs, warmup)


def rates(steps: int, longest: int, epochs: int, warmup: float) -> list[float]:
    """The factors at a member's own steps, of all the run's."""
    rate = rate_of(steps, longest, epochs, warmup)
    return [rate(epoch * longest + step) for epoch in range(epochs) for step in range(steps)]


def test_the_rate_rises_and_falls_linearly_to_nothing() -> None:
    assert rates(10, 10, 2, 0.2) == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, *[(20 - done) / 16 for done in range(4, 20)]], abs=1e-12
    )
    assert rate_of(10, 10, 2, 0.2)(20) == 0
    assert rate_of(10, 10, 2, 0.2)(25) == 0


def test_without_warm_up_it_begins_at_its_peak() -> None:
    assert rates(4, 4, 1, 0) == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("steps", [1, 3, 7, 10])
@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5, 1.0])
def test_a_short_member_gets_the_rates_it_would_get_alone(steps: int, warmup: float) -> None:
    assert rates(steps, 10, 3, warmup) == rates(steps, steps, 3, warmup)
    assert all(0 <= rate <= 1 for rate in rates(steps, 10, 3, warmup))


def test_a_short_members_rate_stands_still_while_it_waits() -> None:
    rate = rate_of(3, 10, 2, 0.0)
    assert {rate(step) for step in range(3, 11)} == {0.5}


@pytest.mark.parametrize("accumulate", [1, 2])
def test_in_a_run_each_member_is_given_its_own_rates(
    joint: Any, data_module: Any, trainer: Any, accumulate: int
) -> None:
    together, alone = Rates(), {name: Rates() for name in MEMBERS}
    for names, callback in [(MEMBERS, together), *(([name], alone[name]) for name in MEMBERS)]:
        fitting = trainer(2, callback, accumulate_grad_batches=accumulate)
        fitting.fit(joint(names), datamodule=data_module(names))
    for name in MEMBERS:
        assert together.seen[name] == alone[name].seen[name]
    assert len({len(seen) for seen in together.seen.values()}) == 3
    assert len(set(together.seen["nl-NL"])) > 2


def test_a_limit_of_steps_ends_the_decay(joint: Any, data_module: Any, trainer: Any) -> None:
    seen = Rates()
    trainer(-1, seen, max_steps=8).fit(joint(["en-US"], warmup=0.0), datamodule=data_module(["en-US"]))
    assert seen.seen["en-US"] == pytest.approx([1e-3 * (8 - step) / 8 for step in range(8)])


def test_matrices_decay_and_vectors_do_not_and_each_parameter_is_in_one_group(
    joint: Any, data_module: Any, trainer: Any
) -> None:
    module = joint(MEMBERS, weight_decay=0.25)
    fitting = trainer(1, limit_train_batches=1)
    fitting.fit(module, datamodule=data_module(MEMBERS))
    groups = fitting.optimizers[0].param_groups
    assert [(group["member"], group["weight_decay"]) for group in groups] == [
        (name, decay) for name in MEMBERS for decay in (0.25, 0.0)
    ]
    for group in groups:
        assert group["params"]
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] > 0}
        own = {id(parameter) for parameter in module.member(group["member"]).parameters()}
        assert {id(parameter) for parameter in group["params"]} <= own
    every = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(every) == sorted(id(parameter) for parameter in module.parameters())


@pytest.mark.parametrize("algorithm", ["norm", "value"])
def test_each_members_gradient_is_clipped_by_its_own_size(joint: Any, algorithm: str) -> None:
    module = joint(MEMBERS)
    scales = {"en-US": 100.0, "de-DE": 1e-6}  # and the third has no gradient at all
    for name, scale in scales.items():
        for parameter in module.member(name).parameters():
            parameter.grad = torch.full_like(parameter, scale)
    module.configure_gradient_clipping(None, 0.5, algorithm)

    def gradients(name: str) -> torch.Tensor:
        return torch.cat([parameter.grad.flatten() for parameter in module.member(name).parameters()])

    if algorithm == "norm":
        assert gradients("en-US").norm().item() == pytest.approx(0.5, rel=1e-4)
    else:
        assert gradients("en-US").unique().tolist() == [0.5]
    assert gradients("de-DE").unique().tolist() == pytest.approx([1e-6])
    assert all(parameter.grad is None for parameter in module.member("nl-NL").parameters())


def test_nothing_is_clipped_unless_asked_for(joint: Any) -> None:
    module = joint(["en-US"])
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    module.configure_gradient_clipping(None, None, None)
    assert all(bool((parameter.grad == 100).all()) for parameter in module.parameters())


def test_members_start_equal_and_share_no_memory(joint: Any) -> None:
    module = joint(MEMBERS)
    first, second = (dict(module.member(name).named_parameters()) for name in MEMBERS[:2])
    for name in first:
        assert torch.equal(first[name], second[name])
        assert first[name].data_ptr() != second[name].data_ptr()


def test_a_locale_is_scored_by_the_member_that_learned_it(joint: Any, data_module: Any, trainer: Any) -> None:
    members = {"west": ("de-DE", "nl-NL"), "en-US": ("en-US",)}
    module, data = joint(list(members)), data_module(members)
    trainer(2, limit_val_batches=1.0).fit(module, datamodule=data)
    for learner, locales in members.items():
        expected = evaluate(module.member(learner), data.eval_loaders("dev", locales))
        for locale in locales:
            assert module.scores[locale].predictions.tolist() == expected[locale].predictions.tolist()
    other = evaluate(module.member("west"), data.eval_loaders("dev", ["en-US"]))["en-US"]
    assert module.scores["en-US"].predictions.tolist() != other.predictions.tolist()


def test_the_sanity_check_of_part_of_a_split_gives_no_scores(joint: Any, data_module: Any, trainer: Any) -> None:
    module = joint(["en-US"])
    fitting = trainer(1, num_sanity_val_steps=1, limit_val_batches=1.0, limit_train_batches=1)
    fitting.fit(module, datamodule=data_module(["en-US"]))
    assert len(module.scores["en-US"].ids) == 45


def test_label_smoothing_is_in_the_loss(joint: Any, data_module: Any, trainer: Any) -> None:
    logged = []
    for smoothing in (0.0, 0.5):
        fitting = trainer(1, limit_train_batches=1)
        fitting.fit(joint(["en-US"], label_smoothing=smoothing), datamodule=data_module(["en-US"]))
        logged.append(fitting.callback_metrics["train/loss"].item())
    assert logged[0] != logged[1]


@pytest.mark.parametrize(
    ("more", "logged"),
    [
        # The second member has three batches, the first eight.
        ({}, [(1, 2), (3, 1), (5, 1), (7, 1), (9, 2), (11, 1), (13, 1), (15, 1)]),
        ({"accumulate_grad_batches": 2}, [(1, 2), (3, 1), (5, 2), (7, 1)]),
    ],
)
def test_a_logged_step_has_the_losses_of_the_members_that_have_a_batch(
    joint: Any, data_module: Any, trainer: Any, more: dict[str, int], logged: list[tuple[int, int]]
) -> None:
    module, rows = joint(["en-US", "nl-NL"]), []

    class Noted(Logger):
        name, version = "noted", 0

        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            losses = {name: float(loss) for name, loss in module.losses.items()}
            mean = sum(losses.values()) / len(losses)
            assert metrics == {f"train/loss/{name}": loss for name, loss in losses.items()} | {
                "train/loss": pytest.approx(mean, rel=1e-6),
                "epoch": fitting.current_epoch,
            }
            rows.append((step, len(losses)))

        def log_hyperparams(self, *_: Any, **__: Any) -> None:
            pass

    fitting = trainer(2, logger=Noted(), log_every_n_steps=2, **more)
    fitting.fit(module, datamodule=data_module(["en-US", "nl-NL"]))
    assert rows == logged


@pytest.mark.parametrize("accumulate", [1, 2, 3, 5])
@pytest.mark.parametrize("execution", ["loop", "stacked"])
def test_a_steps_gradient_and_logged_loss_are_the_means_over_the_batches_that_a_member_has_in_it(
    accumulate: int, execution: str, joint: Any, data_module: Any, trainer: Any
) -> None:
    """Of eight batches and of three: the last step of the run, and of a member, has fewer than `accumulate`."""
    names = ["en-US", "nl-NL"]
    module, reference = joint(names, execution=execution), joint(names, execution="loop")
    batches: dict[str, list[Any]] = {name: [] for name in names}
    steps: list[dict[str, int]] = []

    class Compare(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            for name, part in batch.items():
                batches[name].append((batch_idx, part))

        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            found = {name: expected(name) for name, held in batches.items() if held}
            for name, (gradient, _) in found.items():
                parameters = dict(module.member(name).named_parameters())
                for key, value in gradient.items():
                    torch.testing.assert_close(parameters[key].grad, value, atol=2e-6, rtol=1e-4)
            logged = {name: float(module.losses[name]) for name in found}
            assert logged == pytest.approx({name: loss for name, (_, loss) in found.items()}, rel=1e-5)
            mean = sum(logged.values()) / len(logged)
            assert float(trainer.callback_metrics["train/loss"]) == pytest.approx(mean, rel=1e-5)
            steps.append({name: len(held) for name, held in batches.items() if held})
            for held in batches.values():
                held.clear()

    def expected(name: str) -> tuple[dict[str, torch.Tensor], float]:
        """The mean of the batches' gradients and losses, each computed by itself at the weights of this step."""
        reference.member(name).load_state_dict(module.member(name).state_dict())
        reference.zero_grad()
        losses = [reference.step_losses({name: part}, number)[name] for number, part in batches[name]]
        (torch.stack(losses).sum() / len(losses)).backward()
        gradients = {key: one.grad for key, one in reference.member(name).named_parameters() if one.grad is not None}
        return gradients, float(torch.stack(losses).mean().detach())

    trainer(1, Compare(), accumulate_grad_batches=accumulate).fit(module, datamodule=data_module(names))
    assert [step.get("en-US", 0) for step in steps] == [accumulate] * (8 // accumulate) + [8 % accumulate][
        : 8 % accumulate
    ]
    assert sum(step.get("nl-NL", 0) for step in steps) == 3


def test_balanced_weights_are_those_of_scikit_learn_and_average_to_one_over_the_rows() -> None:
    counts = torch.tensor([6, 3, 0, 1])
    weights = balanced(counts)
    # n / (k * count) of the three labels that occur, n = 10.
    assert weights.tolist() == pytest.approx([10 / 18, 10 / 9, 0, 10 / 3])
    assert (weights * counts).sum().item() == pytest.approx(10)


def test_class_weights_are_each_members_own_and_count_in_its_loss(joint: Any, data_module: Any, trainer: Any) -> None:
    members = {"west": ("de-DE", "nl-NL"), "en-US": ("en-US",)}
    module, data = joint(list(members), class_weights="balanced"), data_module(members)
    losses, batches = [], []

    class Note(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            losses.append(pl_module.losses["west"].item())
            batches.append(batch["west"])

    start = joint(list(members))
    trainer(1, Note(), limit_train_batches=1).fit(module, datamodule=data)
    counts = data.label_counts("de-DE") + data.label_counts("nl-NL")
    assert torch.equal(module.loss.label_weights["west"], balanced(torch.as_tensor(counts)))
    assert not torch.equal(module.loss.label_weights["west"], module.loss.label_weights["en-US"])
    labels = batches[0]["labels"]
    each = torch.nn.functional.cross_entropy(start.member("west")(batches[0]), labels, reduction="none")
    assert losses[0] == pytest.approx((each * module.loss.label_weights["west"][labels]).mean().item(), rel=1e-5)


def test_a_weighted_loss_of_parts_adds_up_to_that_of_the_whole_batch(joint: Any, data_module: Any) -> None:
    module, data = joint(["en-US"], class_weights="balanced", label_smoothing=0.1), data_module(["en-US"])
    module.loss.label_weights["en-US"] = balanced(torch.as_tensor(data.label_counts("en-US")))
    rows, losses = data.encoded("en-US", "train"), []
    for places in (range(8), range(3), range(3, 8)):
        part = rows.batch(places)
        losses.append(module.loss.mean("en-US", module.member("en-US")(part), part["labels"]))
    whole, first, rest = losses
    torch.testing.assert_close(first * 3 / 8 + rest * 5 / 8, whole)


def test_gradient_checkpointing_computes_activations_again_and_changes_no_bit(
    joint: Any, data_module: Any, trainer: Any, dropout_base: Any
) -> None:
    def run(checkpointing: bool) -> tuple[Any, int]:
        module = joint(["en-US"], dropout_base, gradient_checkpointing=checkpointing)
        model = module.member("en-US").model
        calls = []
        model.roberta.encoder.layer[0].attention.register_forward_hook(lambda *_: calls.append(1))
        trainer(1).fit(module, datamodule=data_module(["en-US"]))
        return model.state_dict(), len(calls)

    (plain, once), (again, twice) = run(False), run(True)
    assert twice == 2 * once
    assert all(torch.equal(plain[key], again[key]) for key in plain)


def test_in_bf16_weights_and_logits_stay_in_float32_and_the_arithmetic_is_coarser(
    joint: Any, data_module: Any, trainer: Any
) -> None:
    def run(precision: str) -> Any:
        module = joint(["en-US"])
        trainer(1, precision=precision).fit(module, datamodule=data_module(["en-US"]))
        return module.member("en-US")

    exact, coarse = run("32-true"), run("bf16-mixed")
    assert {parameter.dtype for parameter in coarse.parameters()} == {torch.float32}
    batch = next(iter(data_module(["en-US"]).eval_loaders("dev")["en-US"]))
    with torch.autocast("cpu", torch.bfloat16):
        assert coarse(batch).dtype == torch.float32
    key = "classifier.dense.weight"
    one, other = exact.merge_state()[key], coarse.merge_state()[key]
    assert not torch.equal(one, other)
    assert (one - other).abs().mean() < 1e-3, "eight steps of 1e-3 at most"


def test_accumulated_batches_make_the_steps_of_the_large_batch(
    joint: Any, data_module: Any, trainer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of eight cut in halves, two of which make a step."""
    batches = batching.TrainSampler.global_batches

    def halves(self: Any) -> Any:
        for batch in batches(self):
            if len(batch) == 8:
                yield from (batch[:4], batch[4:])

    def whole(self: Any) -> Any:
        return (batch for batch in batches(self) if len(batch) == 8)

    def learned(cut: Any, count: int, accumulate: int) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(batching.TrainSampler, "global_batches", cut)
            patch.setattr(IntentDataModule, "member_batches", lambda self: dict.fromkeys(self.members, count))
            module = joint(["en-US"], warmup=0.2)
            fitting = trainer(2, accumulate_grad_batches=accumulate, gradient_clip_val=0.5)
            fitting.fit(module, datamodule=data_module(["en-US"]))
            assert fitting.global_step == 14
            return module.member("en-US").merge_state()

    large, accumulated = learned(whole, 7, 1), learned(halves, 14, 2)
    for key in large:
        if not key.endswith("self.key.bias"):  # it has no gradient but rounding
            torch.testing.assert_close(accumulated[key], large[key], atol=1e-5, rtol=0)


def test_a_stopped_members_batches_are_passed_over(joint: Any, data_module: Any, trainer: Any) -> None:
    module = joint(["en-US", "nl-NL"])
    start = {key: value.clone() for key, value in module.member("en-US").merge_state().items()}
    module.stopped = {"en-US"}
    fitting = trainer(1)
    fitting.fit(module, datamodule=data_module(["en-US", "nl-NL"]))
    assert fitting.global_step == 8, "the longer member is the stopped one: its steps are empty at the end"
    assert all(torch.equal(start[key], value) for key, value in module.member("en-US").merge_state().items())
    alone = joint(["nl-NL"])
    trainer(1).fit(alone, datamodule=data_module(["nl-NL"]))
    other = alone.member("nl-NL").merge_state()
    assert all(torch.equal(other[key], value) for key, value in module.member("nl-NL").merge_state().items())
