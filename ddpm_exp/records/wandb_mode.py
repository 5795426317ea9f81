"""Whether W&B is on, offline or online: what the command line, the environment, an agent and the experiment say. No client here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from ddpm_exp.spec.tracking import Tracking

Mode = Literal["offline", "online", "off"]

_SPELLINGS: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "off",
}


def wandb_mode(tracking: Tracking, online: bool | None = None, environment: Mapping[str, str] | None = None) -> Mode:
    """The first that speaks wins: `online` (True for `--online`), WANDB_MODE, a sweep's agent, `tracking.wandb`.

    An agent that started this process without WANDB_MODE waits for it online; an offline sweep sets WANDB_MODE itself.
    A word in WANDB_MODE that W&B does not know counts as silence: the client would refuse it and the run must go on.
    """
    given = os.environ if environment is None else environment
    if online:
        return "online"
    spoken = _SPELLINGS.get(given.get("WANDB_MODE", "").strip().lower())
    if spoken:
        return spoken
    if given.get("WANDB_SWEEP_ID"):
        return "online"
    return tracking.wandb
