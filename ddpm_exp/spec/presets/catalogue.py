"""All presets, and the guides' configurations that wait for a part that does not exist here yet."""

from __future__ import annotations

from typing import NamedTuple

from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.presets.ddpm import DdpmCifar10
from ddpm_exp.spec.presets.guide_001 import BestQuality, Fastest
from ddpm_exp.spec.presets.guide_002 import Images
from ddpm_exp.spec.presets.guide_003 import Defaults

PRESETS: tuple[type[Experiment], ...] = (BestQuality, Fastest, Images, Defaults, DdpmCifar10)
"""Every preset, by guide."""


class Waiting(NamedTuple):
    """A guide's configuration that cannot be written with the parts that exist."""

    guide: str
    name: str
    values: str
    waits_for: str


_ENCODER_DECODER = "the hidden_dim encoder-decoder network (a U-Net under its name would be a different experiment)"
_WARM_RESTARTS = "cosine annealing with warm restarts as a learning-rate schedule"

WAITING: tuple[Waiting, ...] = (
    Waiting(
        "000",
        "Quick Test",
        "100 timesteps, hidden_dim 128, time_emb_dim 64, batch 16, 50 epochs, rate 1e-4, 2 workers",
        _ENCODER_DECODER,
    ),
    Waiting(
        "000",
        "Balanced",
        "500 timesteps, hidden_dim 256, time_emb_dim 128, batch 8, 100 epochs, rate 1e-4, 2 workers",
        _ENCODER_DECODER,
    ),
    Waiting(
        "000",
        "High Quality",
        "1000 timesteps, hidden_dim 512, time_emb_dim 256, batch 4, 200 epochs, rate 5e-5, 2 workers",
        _ENCODER_DECODER,
    ),
    Waiting(
        "000",
        "Memory-Constrained",
        "200 timesteps, hidden_dim 128, time_emb_dim 64, batch 4, 100 epochs, rate 1e-4, no workers",
        _ENCODER_DECODER,
    ),
    Waiting("001", "Standard", "1000 timesteps, betas 1e-4 to 0.02, batch 128, rate 2e-4", _WARM_RESTARTS),
    Waiting("001", "Optimized", "1000 timesteps, betas 1e-4 to 0.02, batch 128, rate 3e-4, smaller network", _WARM_RESTARTS),
)
"""What is not shipped, and what it waits for."""
