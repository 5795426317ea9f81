"""The processes of one run and the few things that they say to each other. One process is the simplest case of it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(hours=2)
"""How long a process waits for another that is alive: judges are fitted and pages written by the first alone. One that died
closes its connections, which ends the wait at once."""


@dataclass(frozen=True)
class Ranks:
    """This process's place among the processes of the run. Tensors on the device are summed there, all else goes over the host."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Place among the processes of this host, which is the number of its GPU."""

    @property
    def leads(self) -> bool:
        """Whether this process records, prints and decides."""
        return self.rank == 0

    def sum(self, *tensors: Tensor) -> None:
        """Replace each by its sum over all processes, the same bits in each. On CUDA the host does not wait."""
        if self.size > 1:
            works = [dist.all_reduce(tensor, async_op=True) for tensor in tensors]
            for work in works:
                work.wait()

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true anywhere. Waits for all."""
        return self.largest(float(flag)) > 0

    def largest(self, value: float) -> float:
        """The largest of all processes' values. Waits for all."""
        if self.size == 1:
            return value
        held = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(held, op=dist.ReduceOp.MAX)
        return float(held)

    def share(self, value: Any) -> Any:
        """The first process's `value`, in every process: plain data and tensors on the CPU. Waits for the first."""
        if self.size == 1:
            return value
        length = torch.zeros(1, dtype=torch.int64)
        packed = io.BytesIO()
        if self.leads:
            torch.save(value, packed)
            length[0] = packed.getbuffer().nbytes
        dist.broadcast(length, src=0)
        content = torch.empty(int(length), dtype=torch.uint8)
        if self.leads:
            content = torch.frombuffer(packed.getbuffer(), dtype=torch.uint8)
        dist.broadcast(content, src=0)
        if self.leads:
            return value
        return torch.load(io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True)

    def copy_from_first(self, tensors: list[Tensor]) -> None:
        """Overwrite `tensors` by the first process's, in place."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def send(self, tensor: Tensor) -> None:
        """Hand a tensor on the CPU to the first process."""
        dist.send(tensor.contiguous(), dst=0)

    def receive(self, into: Tensor, source: int) -> None:
        """Fill a tensor on the CPU by what process `source` sends."""
        dist.recv(into, src=source)

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(1))


SINGLE = Ranks()
"""One process."""


@contextlib.contextmanager
def joined(ranks: Ranks, device: str) -> Iterator[None]:
    """Connect the processes that a launcher started, for the duration. `device`: "cuda" sums over NCCL, the host over gloo."""
    if ranks.size == 1:
        yield
        return
    if device == "cuda":
        torch.cuda.set_device(ranks.local_rank)
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE, device_id=torch.device("cuda", ranks.local_rank))
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()
