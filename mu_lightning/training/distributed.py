"""DDP for members on several devices, with its own gradient averaging."""

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

# Bucket size for gradient averaging in bytes.
BUCKET = 32 * 2**20

_START_METHODS = {"ddp": "popen", "ddp_spawn": "spawn", "ddp_fork": "fork", "ddp_notebook": "fork"}


class JointDDPStrategy(DDPStrategy):
    """DDP without PyTorch's wrapper: gradients are averaged once per optimizer step.

    Inactive members have no gradients. PyTorch's wrapper would search the graph for unused parameters in each step
    (``find_unused_parameters``) and set their gradients to zero, which AdamW does not skip. This strategy averages
    existing gradients only; they are the same on all devices, because every device has a share of every batch.
    """

    def setup_environment(self) -> None:
        """Initializes the process group, which is destroyed at exit.

        Lightning destroys the group for NCCL only. With gloo, a process that exits without doing so may be aborted.
        """
        super().setup_environment()
        atexit.register(_leave_group)

    def configure_ddp(self) -> None:
        """Does not wrap the model; equal initial weights are checked instead of broadcast."""
        assert isinstance(self.model, LightningModule)
        check_agreement({"start": self.model.state_dict()}, "as training starts")

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: LightningModule | nn.Module | None = None,
        **kwargs: Any,
    ) -> Any:
        """Averages the gradients after the backward pass and before clipping."""

        def averaged() -> Any:
            result = closure()
            assert self.lightning_module is not None
            average_gradients([parameter.grad for parameter in self.lightning_module.parameters()])
            return result

        return super().optimizer_step(optimizer, averaged, model, **kwargs)


@torch.no_grad()
def average_gradients(gradients: Sequence[Tensor | None]) -> None:
    """Averages gradients over processes, in place; missing gradients are missing in all processes."""
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
    """Returns the strategy for training a `JointClassifier`.

    Args:
        strategy: requested strategy of Lightning's Trainer.
        devices: devices of the Trainer.
        num_nodes: nodes of the Trainer.

    Raises:
        UserError: an unsupported strategy.
    """
    if not isinstance(strategy, str):
        return strategy
    single = num_nodes == 1 and (devices in (1, "1") or (isinstance(devices, Sequence) and len(devices) == 1))
    if strategy == "auto":
        return strategy if single else JointDDPStrategy()
    name = strategy.partition("_find_unused_parameters_")[0]
    if name not in _START_METHODS:
        raise UserError(f"unsupported strategy {strategy}: remove --trainer.strategy, or use ddp")
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
