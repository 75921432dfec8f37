"""Several processes that train one model together, each on its own environments.

``torchrun`` starts the processes, which are called ranks. Each has a copy of the model and an equal
share of the environments' rows. torch's ``DistributedDataParallel`` averages the gradients, so that
all copies stay the same, and equal those of one process with all environments, up to rounding.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from plasticrl.runs import UsageError

T = TypeVar("T")


class Ranks:
    """The ranks of a training, as one of them sees them.

    Args:
        index: the number of this rank, from 0.
        size: the number of ranks.
    """

    def __init__(self, index: int = 0, size: int = 1) -> None:
        self.index, self.size = index, size

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which writes the run."""
        return self.index == 0

    def share(self, n_rows: int) -> int:
        """Return the number of rows of each rank.

        Raises:
            UsageError: ``n_rows`` is not a multiple of the number of ranks.
        """
        if n_rows % self.size:
            raise UsageError(
                f"n_envs={n_rows} cannot be divided equally among {self.size} processes"
            )
        return n_rows // self.size

    def rows(self, n_rows: int) -> slice:
        """Return this rank's part of ``n_rows`` rows."""
        share = self.share(n_rows)
        return slice(self.index * share, (self.index + 1) * share)

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the tensors of all ranks, of the same shape, along the first axis."""
        if self.size == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def gather_objects(self, value: T) -> list[T]:
        """Return the values of all ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def any(self, value: bool) -> bool:
        """Whether the value of any rank is true."""
        return bool(self.gather(torch.tensor([value], dtype=torch.uint8)).any())


ALONE = Ranks()


def join_ranks(device: str) -> Ranks:
    """Connect to the other processes that ``torchrun`` has started.

    Args:
        device: "cpu", "cuda" or "auto". On a machine with several GPUs, each process gets its own
            as torch's current device.

    Raises:
        UsageError: ``torchrun`` did not start this process.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        raise UsageError(
            "distributed training is started by torchrun, as in: torchrun --nproc-per-node 2 "
            "train_rl.py maze-quickstart --distributed"
        )
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    return Ranks(dist.get_rank(), dist.get_world_size())


class _Call(nn.Module):
    """A method of a policy as a module, of which ``DistributedDataParallel`` can make a copy."""

    def __init__(self, policy: nn.Module, method: Callable[..., Any]) -> None:
        super().__init__()
        self.policy, self.method = policy, method

    def forward(self, *arguments: Any, **options: Any) -> Any:
        return self.method(*arguments, **options)


def averaging_gradients(policy: nn.Module, method: Callable[..., T]) -> Callable[..., T]:
    """Return a method of a policy, after whose backward pass the gradients are averaged.

    The average is over the ranks, of the gradients of all weights of the policy.
    """
    return DistributedDataParallel(_Call(policy, method))
