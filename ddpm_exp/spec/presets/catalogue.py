"""All presets, and the guides' configurations that wait for a part that does not exist here yet."""

from __future__ import annotations

from typing import NamedTuple

from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.presets.ddpm import DdpmCifar10
from ddpm_exp.spec.presets.guide_000 import Balanced, HighQuality, MemoryConstrained, QuickTest
from ddpm_exp.spec.presets.guide_001 import BestQuality, Fastest
from ddpm_exp.spec.presets.guide_002 import Images, Tables
from ddpm_exp.spec.presets.guide_003 import Defaults

PRESETS: tuple[type[Experiment], ...] = (
    QuickTest,
    Balanced,
    HighQuality,
    MemoryConstrained,
    BestQuality,
    Fastest,
    Images,
    Tables,
    Defaults,
    DdpmCifar10,
)
"""Every preset, by guide."""


class Waiting(NamedTuple):
    """A guide's configuration that cannot be written with the parts that exist."""

    guide: str
    name: str
    values: str
    waits_for: str


_WARM_RESTARTS = "cosine annealing with warm restarts as a learning-rate schedule"

WAITING: tuple[Waiting, ...] = (
    Waiting("001", "Standard", "1000 timesteps, betas 1e-4 to 0.02, batch 128, rate 2e-4", _WARM_RESTARTS),
    Waiting("001", "Optimized", "1000 timesteps, betas 1e-4 to 0.02, batch 128, rate 3e-4, smaller network", _WARM_RESTARTS),
)
"""What is not shipped, and what it waits for."""
