"""A run whose weights are struck once, as a flipped bit of the exponent does it; in a module that fresh processes can import."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from support.tiny_experiment import Watching, final_tensors, happened, rows

from ddpm_exp.loading.loaded import load_experiment
from ddpm_exp.ranks.ranks import Ranks
from ddpm_exp.training.trainer import Trainer
from ddpm_exp.workflow.options import RunOptions
from ddpm_exp.workflow.run import follow_seed, run_seed


def strike(at: int, value: float = 1e30) -> Any:
    """A `Trainer.step` after which, at `at` images, one weight is `value`; it happens once."""
    step, struck = Trainer.step, []

    def stricken(trainer: Trainer, rate: float | None = None) -> None:
        step(trainer, rate)
        if trainer.images_seen == at and not struck:
            struck.append(at)
            with torch.no_grad():
                next(weight for name, weight in trainer.network.named_parameters() if name.endswith("last.bias"))[0] = value

    return stricken


def struck_run(ranks: Ranks, folder: str, at: int) -> dict[str, Any] | None:
    """What the first of several processes recorded of experiments/adr_0001.py in `folder`, all being struck alike."""
    os.chdir(folder)
    Trainer.step = strike(at)  # type: ignore[method-assign]
    loaded = load_experiment("experiments/adr_0001.py", [f"hardware.devices={ranks.size}"])
    options = RunOptions(root=Path("together"))
    if not ranks.leads:
        follow_seed(loaded, 0, options, ranks)
        return None
    done = run_seed(loaded, 0, options, Watching(), ranks)
    events = [event.text for event in happened(done.run)]
    final = {name: value for name, value in final_tensors(done.run).items() if name.startswith((".network.", ".rollbacks"))}
    return {"state": done.state, "events": events, "rows": rows(done.run), "final": final}
