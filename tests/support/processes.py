"""Real processes that compute together over gloo, for promises about more than one device."""

from __future__ import annotations

import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import multiprocessing

from ddpm_exp.ranks.ranks import Ranks, joined


def in_processes(size: int, work: Callable[..., Any], *given: Any) -> list[Any]:
    """What `work(ranks, *given)` returns in each of `size` fresh processes, by rank: plain data. Raises what any of them raises."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(_process, args=(size, port, folder, work, given), nprocs=size)
        return [pickle.loads((Path(folder) / str(rank)).read_bytes()) for rank in range(size)]


def _process(rank: int, size: int, port: int, folder: str, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(size)}
    with joined(Ranks(rank, size, rank), "cpu") as ranks:
        (Path(folder) / str(rank)).write_bytes(pickle.dumps(work(ranks, *given)))
