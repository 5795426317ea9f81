"""The forward process and what the network predicts: schedule, timesteps, prediction, weight."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt
from pydantic import model_validator

from ddpm_exp.spec.base import Spec, broken


class Diffusion(Spec):
    """x_t = alpha_t x0 + sigma_t eps on `timesteps` discrete times (Ho et al. 2020, eq. 4)."""

    schedule: Literal["linear", "cosine"] = "linear"
    """`linear`: betas from `beta_start` to `beta_end` (Ho et al. 2020). `cosine`: Nichol & Dhariwal 2021, eq. 17,
    betas clipped at 0.999."""

    timesteps: Annotated[int, Ge(2), Le(10_000)] = 1000
    """Number of noise levels T. Guide 000: 100 to 1000; guide 001: 1000 or more; guide 003: 250 to 4000."""

    beta_start: Annotated[float, Ge(1e-10), Lt(1)] = 1e-4
    """Per-step noise variance at the first time of the linear schedule."""

    beta_end: Annotated[float, Ge(1e-10), Lt(1)] = 0.02
    """Per-step noise variance at the last time of the linear schedule."""

    cosine_s: Annotated[float, Ge(0), Lt(1)] = 0.008
    """Offset s of the cosine schedule, which keeps the first steps from being too small."""

    zero_terminal_snr: bool = False
    """Rescale the schedule so that the last time is pure noise (Lin et al. 2024, algorithm 1)."""

    prediction: Literal["eps", "x0", "v"] = "eps"
    """What the network's output means: the noise, the clean image, or v = alpha eps - sigma x0."""

    weight: Literal["simple"] = "simple"
    """Loss weight over time. `simple`: mean squared error of the prediction itself (Ho et al. 2020, eq. 14)."""

    @model_validator(mode="after")
    def _rules(self) -> Diffusion:
        if self.beta_start > self.beta_end:
            raise broken(
                "beta_start must not exceed beta_end",
                field="beta_start",
                value=self.beta_start,
                fix=f"lower beta_start below {self.beta_end:g} or raise beta_end",
            )
        if self.zero_terminal_snr and self.prediction == "eps":
            raise broken(
                "at zero terminal SNR the last time is pure noise, from which an eps prediction cannot recover x0 "
                "(it divides by alpha = 0)",
                field="zero_terminal_snr",
                value=True,
                fix="set diffusion.prediction to 'v' or 'x0', or zero_terminal_snr to False",
            )
        return self
