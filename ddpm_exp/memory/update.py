"""The optimizer's step on meta tensors, recorded: what it allocates for itself. No device."""

from __future__ import annotations

from functools import lru_cache

import torch

from ddpm_exp.memory.step import Setting, meta_network
from ddpm_exp.memory.trace import Event, Recorder, without_collector
from ddpm_exp.training.muon import Muon
from ddpm_exp.training.optimizer import split


@lru_cache(maxsize=64)
def update_events(setting: Setting, kind: str) -> tuple[Event, ...]:
    """Births and deaths during one step of the optimizer `kind`, once its moments are there. The fused ones take nothing."""
    if kind != "muon":
        return ()
    matrices, _ = split(meta_network(setting))
    if not matrices:
        return ()
    for weight in matrices:
        weight.grad = torch.empty_like(weight)
    half = setting.kernels.half is torch.bfloat16
    optimizer = Muon(matrices, [], lr=1.0, betas=(0.9, 0.99), weight_decay=0.0, momentum=0.95, half=half)
    optimizer.found_inf = torch.empty((), device="meta")
    optimizer.step()
    known = [*matrices, *(weight.grad for weight in matrices if weight.grad is not None), optimizer.found_inf]
    known += [kept for state in optimizer.state.values() for kept in state.values()]
    recorder = Recorder(known, channels_last=False, workspaces=False)
    with without_collector(), recorder:
        optimizer.step()
    return tuple(recorder.trace.events)
