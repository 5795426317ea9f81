"""Where a run is shown besides its own directory: Weights & Biases."""

from __future__ import annotations

from typing import Literal

from ddpm_exp.spec.base import Spec


class Tracking(Spec):
    """Weights & Biases settings. The run directory is written whatever these say."""

    wandb: Literal["offline", "online", "off"] = "offline"
    """`offline` logs to disk for `wandb sync`; `--online` or WANDB_MODE=online wins over it."""

    project: str = "ddpm-exp"
    """W&B project."""

    entity: str | None = None
    """W&B team or user; None: the login's default."""

    tags: tuple[str, ...] = ()
    """W&B tags."""
