"""The processes of one run and the few things that they say to each other. One process is the simplest case of it."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, TCPStore

from ddpm_exp.ranks.lost import Lost

PATIENCE = timedelta(hours=2)
"""How long a process waits for another to say something: judges are fitted and pages written by the first alone. One that died
closes its connections, which ends the wait at once."""

DEVICE_PATIENCE = timedelta(minutes=10)
"""How long a device waits for another's part of a sum, which it is computing."""


@dataclass(frozen=True)
class Ranks:
    """This process's place among the processes of the run. Tensors on the device are summed there, all else goes over the host.

    Every method that waits for others raises `Lost` where one of them is gone.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Place among the processes of this host, which is the number of its GPU."""

    host: Any = None
    """The process group for tensors on the CPU; None: the default one."""

    @property
    def leads(self) -> bool:
        """Whether this process records, prints and decides."""
        return self.rank == 0

    def sum(self, *tensors: Tensor) -> None:
        """Replace each by its sum over all processes, the same bits in each. On CUDA the host does not wait."""
        if self.size > 1:
            with _answered():
                for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
                    work.wait()

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true anywhere. Waits for all."""
        return self.largest(float(flag)) > 0

    def largest(self, value: float) -> float:
        """The largest of all processes' values. Waits for all."""
        if self.size == 1:
            return value
        held = torch.tensor(value, dtype=torch.float64)
        with _answered():
            dist.all_reduce(held, op=dist.ReduceOp.MAX, group=self.host)
        return float(held)

    def ask_largest(self, values: Tensor) -> Callable[[], None]:
        """Begin to replace float64 `values` on the CPU by the largest of all processes'; the answer waits until they are."""
        with _answered():
            work = dist.all_reduce(values, op=dist.ReduceOp.MAX, group=self.host, async_op=True)

        def answer() -> None:
            with _answered():
                work.wait()

        return answer

    def share(self, value: Any) -> Any:
        """The first process's `value`, in every process: plain data and tensors on the CPU. Waits for the first."""
        if self.size == 1:
            return value
        length = torch.zeros(1, dtype=torch.int64)
        packed = io.BytesIO()
        if self.leads:
            torch.save(value, packed)
            length[0] = packed.getbuffer().nbytes
        with _answered():
            dist.broadcast(length, src=0, group=self.host)
            content = torch.empty(int(length), dtype=torch.uint8)
            if self.leads:
                content = torch.frombuffer(packed.getbuffer(), dtype=torch.uint8)
            dist.broadcast(content, src=0, group=self.host)
        if self.leads:
            return value
        return torch.load(io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True)

    def wait(self) -> None:
        """Until all are here."""
        self.largest(0.0)

    def send(self, tensor: Tensor) -> None:
        """Hand a tensor on the CPU to the first process."""
        with _answered():
            dist.send(tensor.contiguous(), dst=0, group=self.host)

    def receive(self, into: Tensor, source: int) -> None:
        """Fill a contiguous tensor on the CPU by what process `source` sends."""
        with _answered():
            dist.recv(into, src=source, group=self.host)


SINGLE = Ranks()
"""One process."""


@contextlib.contextmanager
def joined(ranks: Ranks, device: str) -> Iterator[Ranks]:
    """Connect the processes that a launcher started, for the duration; once per process. `device`: on "cuda", process r of a
    host computes on its GPU r and sums over NCCL; tensors on the CPU travel over gloo."""
    if ranks.size == 1:
        yield ranks
        return
    with _answered():
        if device == "cuda":
            torch.cuda.set_device(ranks.local_rank)
            device_id = torch.device("cuda", ranks.local_rank)
            dist.init_process_group("nccl", timeout=DEVICE_PATIENCE, device_id=device_id, **_meeting(ranks))
            ranks = replace(ranks, host=dist.new_group(backend="gloo", timeout=PATIENCE))
        else:
            dist.init_process_group("gloo", timeout=PATIENCE, **_meeting(ranks))
    try:
        yield ranks
    finally:
        # With a process lost, a farewell would wait for it.
        if sys.exc_info()[0] is None:
            ranks.wait()
            gc.collect()  # what holds a group ends before the interpreter does, whose end its threads would not survive
            dist.destroy_process_group()


def _meeting(ranks: Ranks) -> dict[str, Any]:
    """Where the processes find each other: at the launcher's store or, where it has none, at the first process's.

    Under a name of their own for each time that the launcher starts them: its store outlives them, and would send processes that
    were started again to the addresses of those that died.
    """
    own = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    store = TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), ranks.size, is_master=own and ranks.leads, multi_tenant=own
    )
    name = f"ddpm-exp/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    return {"store": PrefixStore(name, store), "rank": ranks.rank, "world_size": ranks.size}


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Turn the library's many errors about a process that is gone into one."""
    try:
        yield
    except RuntimeError as error:
        raise Lost(
            "another process of this run has ended or does not answer",
            field="hardware.devices",
            fix="see what it said; the same command goes on from the last checkpoint",
        ) from error
