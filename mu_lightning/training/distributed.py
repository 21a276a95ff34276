"""Members over several devices of a machine: Lightning's DDP with a gradient exchange that fits members."""

import atexit
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from mu_lightning.training.agreement import check_agreement
from mu_lightning.utilities.errors import UserError

# Bytes of gradients that are exchanged at once: enough to use the link well, little beside a member.
BUCKET = 32 * 2**20

_START_METHODS = {"ddp": "popen", "ddp_spawn": "spawn", "ddp_fork": "fork", "ddp_notebook": "fork"}


class JointDDPStrategy(DDPStrategy):
    """DDP without PyTorch's wrapper: gradients are averaged over the devices once an optimizer step.

    A member whose epoch is over, or whose turn it is not, has no gradient. PyTorch's wrapper would have to search the
    whole graph for such parameters in each step (``find_unused_parameters``) and would fill their gradients with
    zeros, on which AdamW acts. Here the gradients that exist are exchanged, and all devices have the same ones,
    because each takes its share of every batch.
    """

    def setup_environment(self) -> None:
        """Joins the other processes, until the program ends.

        Lightning leaves the group by itself only under NCCL. A process that ends in it under gloo may be aborted by
        gloo's threads, with all its work done.
        """
        super().setup_environment()
        atexit.register(_leave_group)

    def configure_ddp(self) -> None:
        """Wraps nothing; members start from one seed, which is checked rather than sent around."""
        assert isinstance(self.model, LightningModule)
        check_agreement({"start": self.model.state_dict()}, "as training starts")

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: LightningModule | nn.Module | None = None,
        **kwargs: Any,
    ) -> Any:
        """Averages the gradients once they are computed, and before anything looks at them or clips them."""

        def averaged() -> Any:
            result = closure()
            assert self.lightning_module is not None
            average_gradients([parameter.grad for parameter in self.lightning_module.parameters()])
            return result

        return super().optimizer_step(optimizer, averaged, model, **kwargs)


@torch.no_grad()
def average_gradients(gradients: Sequence[Tensor | None]) -> None:
    """Replaces each gradient by its mean over the processes, in place; what is None is None in all of them."""
    world_size = distributed.get_world_size()
    if world_size == 1:
        return
    for bucket in _buckets([gradient for gradient in gradients if gradient is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        distributed.all_reduce(flat)
        flat /= world_size
        parts = flat.split([gradient.numel() for gradient in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def strategy_for(strategy: str | Strategy, devices: Any = 1, num_nodes: int = 1) -> str | Strategy:
    """The strategy to give to a Trainer of a `JointClassifier` where that one was asked for.

    Args:
        strategy: what was asked for, as Lightning's Trainer takes it.
        devices: the Trainer's devices.
        num_nodes: the Trainer's nodes.

    Raises:
        UserError: a strategy by name under which members cannot be trained.
    """
    if not isinstance(strategy, str):
        return strategy
    single = num_nodes == 1 and (devices in (1, "1") or (isinstance(devices, Sequence) and len(devices) == 1))
    if strategy == "auto":
        return strategy if single else JointDDPStrategy()
    name = strategy.partition("_find_unused_parameters_")[0]
    if name not in _START_METHODS:
        raise UserError(
            f"members are not trained under the strategy {strategy}: leave out --trainer.strategy, or choose ddp"
        )
    return JointDDPStrategy(start_method=_START_METHODS[name])  # type: ignore[arg-type]


def _leave_group() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for gradient in gradients:
        if bucket and (size + gradient.nbytes > BUCKET or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.nbytes
    if bucket:
        yield bucket
