"""How long the guides say that their configurations train: claims to set beside an estimate, not facts."""

from __future__ import annotations

from typing import NamedTuple

from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.presets.guide_000 import Balanced, HighQuality, MemoryConstrained, QuickTest
from ddpm_exp.spec.presets.guide_001 import Optimized, Standard

MINUTE, HOUR = 60.0, 3600.0


class Claim(NamedTuple):
    """Of one guide, about one configuration on one GPU."""

    guide: str
    gpu: str
    """The catalogue's name up to the hyphen."""
    low: float
    high: float
    """Seconds."""
    epochs: int | None = None
    """Epochs that it speaks of; None: the whole training."""


_CLAIMS: dict[type[Experiment], Claim] = {
    QuickTest: Claim("000", "T4", 30 * MINUTE, 60 * MINUTE),
    Balanced: Claim("000", "T4", 2 * HOUR, 4 * HOUR),
    HighQuality: Claim("000", "V100", 8 * HOUR, 12 * HOUR),
    MemoryConstrained: Claim("000", "T4", 2 * HOUR, 3 * HOUR),
    Standard: Claim("001", "RTX 3090", 3 * MINUTE, 5 * MINUTE, epochs=1),
    Optimized: Claim("001", "RTX 3090", 1 * MINUTE, 2 * MINUTE, epochs=1),
}


def claim_about(experiment: Experiment) -> Claim | None:
    """What a guide claims about the training of `experiment`: where it is one of its configurations, or builds on one and
    changes neither data, condition, network nor images per step, nor, for a whole training, its length."""
    for base in type(experiment).__mro__:
        if base in _CLAIMS:
            claim, stated = _CLAIMS[base], base()
            same = all(getattr(experiment, part) == getattr(stated, part) for part in ("data", "condition", "model"))
            same = same and experiment.training.images_per_step == stated.training.images_per_step
            same = same and (claim.epochs is not None or experiment.training.duration == stated.training.duration)
            return claim if same else None
    return None
