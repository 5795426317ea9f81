"""The ways of drawing that sampling_quality.py compares. Draws nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ddpm_exp.diffusion import calibration

FIRST = "eps-linear"
"""The weights that most cases are about, of DDPM's network in full; the others' has 64 channels instead of 128."""

OURS = ("ddim", "dpm++2m", "unipc", "dpm++3m-sde", "ddpm", "heun", "edm-stochastic", "euler")

TWICE = ("heun", "edm-stochastic")
"""Samplers that ask the network twice in each step but the last."""

DIFFUSERS = {
    "DDPM": "ddpm",
    "DDIM": "ddim",
    "EulerDiscrete": "euler",
    "HeunDiscrete": "heun",
    "DPMSolverMultistep": "dpm++2m",
    "UniPCMultistep": "unipc",
}
"""Scheduler to our name of the sampler."""


@dataclass(frozen=True)
class Case:
    """One way of drawing."""

    implementation: str
    sampler: str
    calls: int
    grid: str
    least_ratio: float | None = None
    """Ours: sigma / alpha from which predictions are calibrated; None: nowhere."""

    eps_kept: bool = False
    """Ours: the noise is not derived again from a clipped x0."""

    @property
    def steps(self) -> int:
        """Steps that ask the network at most `calls` times."""
        return (self.calls + 1) // 2 if self.sampler in TWICE else self.calls


RATIOS = (1.5, 3.0, 5.0, 10.0)


def cases(weights: str) -> Iterator[list[Case]]:
    """In three parts, the most telling first: the time may not suffice for all. The first is about where calibration begins."""
    first = weights == FIRST
    some = [_ours("ddim", 50), _ours("dpm++2m", 25), _ours("ddpm", 50), _ours("dpm++3m-sde", 50)]
    yield [
        *(replace(case, least_ratio=least) for least in RATIOS for case in some[: None if first else 1]),
        *(replace(case, least_ratio=None) for case in some),
    ]
    chosen = calibration.LEAST_RATIO
    yield [
        *(_ours(name, calls) for calls in ((50, 25, 10) if first else (50, 10)) for name in OURS),
        *(_theirs(name, calls) for calls in ((50, 25, 10) if first else (50, 10)) for name in DIFFUSERS),
        *(Case("ddpm-exp", "ddim", 50, grid, chosen) for grid in ("leading", "linspace", "karras")),
        *(Case("ddpm-exp", "ddim", 50, grid, chosen, eps_kept=True) for grid in ("leading", "trailing")),
    ]
    if first:
        yield [
            *(Case("ddpm-exp", name, 25, "karras", chosen) for name in ("dpm++2m", "unipc", "dpm++3m-sde")),
            Case("ddpm-exp", "dpm++2m", 10, "karras", chosen),
            *(case for name in ("ddpm", "ddim") for case in (_ours(name, 100), _theirs(name.upper(), 100))),
            _ours("dpm++3m-sde", 100),
            *(_ours("ddpm", 250), _theirs("DDPM", 250), Case("ddpm-exp", "dpm++3m-sde", 50, "karras", chosen)),
        ]
    else:
        yield [_ours(name, 20) for name in OURS]


def _ours(sampler: str, calls: int) -> Case:
    return Case("ddpm-exp", sampler, calls, "trailing", calibration.LEAST_RATIO)


def _theirs(scheduler: str, calls: int) -> Case:
    return Case("diffusers", scheduler, calls, "leading" if scheduler in ("DDPM", "DDIM") else "linspace")
