"""All presets, by guide."""

from __future__ import annotations

from ddpm_exp.spec.experiment import Experiment
from ddpm_exp.spec.presets.ddpm import DdpmCifar10
from ddpm_exp.spec.presets.guide_000 import Balanced, HighQuality, MemoryConstrained, QuickTest
from ddpm_exp.spec.presets.guide_001 import BestQuality, Fastest, Optimized, Standard
from ddpm_exp.spec.presets.guide_002 import Images, Tables
from ddpm_exp.spec.presets.guide_003 import Defaults

PRESETS: tuple[type[Experiment], ...] = (
    QuickTest,
    Balanced,
    HighQuality,
    MemoryConstrained,
    Standard,
    Optimized,
    BestQuality,
    Fastest,
    Images,
    Tables,
    Defaults,
    DdpmCifar10,
)
"""Every preset, by guide."""
