"""Several processes that train one model together, each on its own environments.

``torchrun`` starts the processes, which are called ranks. Each has a copy of the model and an equal
share of the environments' rows. torch's ``DistributedDataParallel`` averages the gradients, so that
all copies stay the same. With ``RecurrentA2C``, they equal those of one process with all
environments, up to rounding. With ``RecurrentPPO``, each rank draws its part of each minibatch from
its own environments.
"""

import atexit
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
    """The processes of a distributed training, as one of them sees them.

    Args:
        rank: the number of this process, from 0.
        world_size: the number of processes.
    """

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        self.rank, self.world_size = rank, world_size

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes the run."""
        return self.rank == 0

    def share(self, n_envs: int) -> int:
        """Return the number of environments of each rank.

        Raises:
            UsageError: ``n_envs`` is not a multiple of the number of ranks.
        """
        if n_envs % self.world_size:
            raise UsageError(
                f"n_envs={n_envs} cannot be divided equally among {self.world_size} processes"
            )
        return n_envs // self.world_size

    def rows(self, n_envs: int) -> slice:
        """Return the indices of this rank's environments, of ``n_envs`` in all.

        Raises:
            UsageError: as ``share``.
        """
        share = self.share(n_envs)
        return slice(self.rank * share, (self.rank + 1) * share)

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the tensors of all ranks, of the same shape, along the first axis."""
        if self.world_size == 1:
            return tensor
        parts = [torch.empty_like(tensor) for _ in range(self.world_size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    def gather_objects(self, value: T) -> list[T]:
        """Return the values of all ranks."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def any(self, value: bool) -> bool:
        """Whether the value of any rank is true."""
        return bool(self.gather(torch.tensor([value], dtype=torch.uint8)).any())

    def wait(self) -> None:
        """Wait until all ranks have come here."""
        self.any(False)


ALONE = Ranks()


def join_ranks(device: str) -> Ranks:
    """Connect to the other processes that ``torchrun`` has started.

    Args:
        device: "cpu", "cuda" or "auto". On a machine with several GPUs, each process gets its own
            as torch's current device.

    Raises:
        UsageError: ``torchrun`` did not start this process, the device names one GPU for all
            processes, or there are fewer GPUs than processes.
    """
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys():
        raise UsageError(
            "distributed training is started by torchrun, as in: torchrun --nproc-per-node 2 "
            "train_rl.py maze-quickstart --distributed"
        )
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if on_gpu:
        local_rank, n_gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if ":" in device:
            raise UsageError(f"device={device} is one GPU for all processes: give device=cuda")
        if local_rank >= n_gpus:
            raise UsageError(
                f"this machine has {n_gpus} GPUs, and each process needs its own: start at most "
                f"{n_gpus} processes on it, or give device=cpu"
            )
        torch.cuda.set_device(local_rank)
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
        atexit.register(dist.destroy_process_group)
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
