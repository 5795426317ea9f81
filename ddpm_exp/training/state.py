"""A training to a checkpoint and back: every tensor that the next step depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ddpm_exp.checkpoints.store import Checkpoint
from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.optimizer import lay_out_like_weights
from ddpm_exp.training.sharding import spread_like, with_moments
from ddpm_exp.training.trainer import Trainer


def to_checkpoint(trainer: Trainer, facts: dict[str, Any], begun: Checkpoint | None = None) -> Checkpoint:
    """Weights, average, optimizer, loss scale and unread statistics, with `facts` as plain data.

    `begun`: one made since the last step. What a step changes in its place is taken from it, which saves looking it all up again.
    """
    held = _changed_in_place(trainer) if begun is None or begun.images_seen != trainer.images_seen else begun.tensors
    tensors: dict[str, Any] = {
        "network": held["network"],
        "optimizer": held["optimizer"],
        "loss_scale": trainer.loss_scale.state(),
        "statistics": trainer.statistics.state(),
        "objective": trainer.objective.state(),
    }
    if trainer.rollbacks:
        tensors["rollbacks"] = trainer.rollbacks
    tensors |= {name: held[name] for name in ("ema", "tracked") if name in held}
    return Checkpoint(images_seen=trainer.images_seen, tensors=tensors, facts=facts)


def _changed_in_place(trainer: Trainer) -> dict[str, Any]:
    tensors: dict[str, Any] = {"network": trainer.network.state_dict(), "optimizer": trainer.optimizer.state_dict()}
    if trainer.ema is not None:
        tensors["ema"] = trainer.ema.network.state_dict()
    if trainer.tracked:
        tensors["tracked"] = {width: average.network.state_dict() for width, average in trainer.tracked.items()}
    return tensors


def moments_to_come(trainer: Trainer) -> int:
    """Bytes that an optimizer which has not stepped yet will add to a checkpoint, at most: two numbers for each weight, and a
    count."""
    if trainer.optimizer.state:
        return 0
    return sum(2 * weight.nbytes + 3 * 512 for weight in trainer.network.parameters())


def into(trainer: Trainer) -> dict[str, Any]:
    """The tensors of a spread trainer, as a checkpoint of it is to be read."""
    with_moments(trainer.optimizer)
    return to_checkpoint(trainer, {}).tensors


def restore(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Continue `trainer` exactly where the checkpoint was made. Raises RunError if it belongs to another network, and
    if averages are to be tracked that were not from the first step on."""
    if trainer.tracked and "tracked" not in checkpoint.tensors:
        raise RunError(
            "averages of which snapshots are kept begin with the first step, and this run was begun without them",
            field="training.ema_snapshots",
            fix="leave it out to go on with this run, or start again with --fresh",
        )
    if trainer.spread:
        checkpoint = replace(checkpoint, tensors=spread_like(checkpoint.tensors, into(trainer)))
    try:
        trainer.network.load_state_dict(checkpoint.tensors["network"])
        if trainer.ema is not None:
            trainer.ema.network.load_state_dict(checkpoint.tensors["ema"])
        for width, average in trainer.tracked.items():
            average.network.load_state_dict(checkpoint.tensors["tracked"][width])
    except (KeyError, RuntimeError) as error:
        raise RunError(
            f"the checkpoint does not fit this network: {str(error).splitlines()[0]}",
            field="checkpoints",
            fix="start again with --fresh; the old run stays where it is",
        ) from error
    trainer.optimizer.load_state_dict(checkpoint.tensors["optimizer"])
    if not trainer.spread:
        lay_out_like_weights(trainer.optimizer)
    trainer.loss_scale.restore(checkpoint.tensors["loss_scale"])
    trainer.statistics.restore(checkpoint.tensors["statistics"])
    trainer.objective.restore(checkpoint.tensors["objective"])
    trainer.rollbacks = int(checkpoint.tensors.get("rollbacks", 0))
    trainer.images_seen = checkpoint.images_seen
