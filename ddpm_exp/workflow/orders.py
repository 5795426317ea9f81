"""What the first process of a run tells the others, and where in training they wait to be told."""

from __future__ import annotations

from typing import Literal

from ddpm_exp.ranks.ranks import Ranks
from ddpm_exp.workflow.prepare import Prepared

Order = Literal["evaluate", "train", "go on", "complete", "checkpoint", "alike", "fid", "end"]
"""`evaluate`, `fid` and, where weights are spread over the processes, `checkpoint`: take part in it. `train`: step until training
pauses or stops. `alike`: take over the state that the first has gone back to. `go on` and `complete`: the ends of a pause. `end`:
the run is over."""


def lead(ranks: Ranks, order: Order) -> None:
    """Tell all other processes what the first one does next."""
    ranks.share(order)


def hear(ranks: Ranks) -> Order:
    """Wait for what the first process does next."""
    order: Order = ranks.share(None)
    return order


def pauses(prepared: Prepared) -> tuple[int, ...]:
    """Training pauses at multiples of these images: to write a checkpoint, to evaluate, to keep a snapshot of averages."""
    training, epoch = prepared.experiment.training, prepared.units.images_per_epoch
    amounts = (training.checkpoint_every, prepared.experiment.evaluation.every, training.ema_snapshots)
    return tuple(training.images(amount, epoch) for amount in amounts if amount is not None)
