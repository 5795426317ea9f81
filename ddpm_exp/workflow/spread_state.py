"""Checkpoints of a run whose weights are spread over its processes, which write and read them together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ddpm_exp.checkpoints import sharded
from ddpm_exp.checkpoints.store import Checkpoint, checkpoints, load, prune
from ddpm_exp.ranks.ranks import Ranks
from ddpm_exp.spec.errors import RunError
from ddpm_exp.training.state import into, restore, to_checkpoint
from ddpm_exp.training.trainer import Trainer


def save_together(trainer: Trainer, folder: Path | None, facts: dict[str, Any] | None = None, keep: int = 2) -> None:
    """Write a checkpoint, each process its own part, and keep the last `keep`. `folder` and `facts`: the first process's; None in
    all others."""
    ranks = trainer.ranks
    said = ranks.share(None if folder is None else {"folder": str(folder.resolve()), "facts": facts})
    state = to_checkpoint(trainer, said["facts"])
    path = sharded.save(Path(said["folder"]), state.images_seen, state.tensors, state.facts, ranks)
    if ranks.leads:
        prune(path.parent, path, keep)


def restore_together(trainer: Trainer, folder: Path | None, warn: Callable[[str], None] = lambda text: None) -> bool:
    """Continue from the newest whole checkpoint in `folder` (None in all processes but the first), whoever wrote it.

    False where there is none. Raises RunError where all are broken.
    """
    ranks, path = trainer.ranks, None
    if ranks.leads and folder is not None:
        path = _newest_whole(folder, warn)
    said = ranks.share(None if path is None else str(path.resolve()))
    if said is None:
        return False
    if said.endswith(sharded.ENDING):
        restore(trainer, Checkpoint(*sharded.load_into(Path(said), into(trainer), ranks)))
    else:
        restore(trainer, _shared(Path(said), ranks))
    return True


def _shared(path: Path, ranks: Ranks) -> Checkpoint:
    """A checkpoint of one file, read by the first process."""
    found = load(path) if ranks.leads else None
    said = ranks.share(None if found is None else {"images_seen": found.images_seen, "tensors": found.tensors})
    return Checkpoint(int(said["images_seen"]), said["tensors"])


def _newest_whole(folder: Path, warn: Callable[[str], None]) -> Path | None:
    paths = checkpoints(folder)
    for path in reversed(paths):
        try:
            if path.suffix == sharded.ENDING:
                sharded.verified(path)
            else:
                load(path)
        except RunError as error:
            warn(str(error))
            continue
        return path
    if paths:
        raise RunError(
            f"none of its {len(paths)} checkpoints can be loaded",
            field=str(folder),
            fix="restore the folder from a copy, or start the run again with --fresh",
        )
    return None
