"""How samples are drawn from the trained network: sampler, times, guidance."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import model_validator

from ddpm_exp.spec.base import FirstDefault, Spec, broken, require_belonging

Sampler = Literal["ddim", "ddpm", "euler", "heun", "edm-stochastic", "dpm++2m", "dpm++3m-sde", "unipc"]

_BELONGS: dict[str, tuple[str, ...]] = {
    "eta": ("ddim",),
    "variance": ("ddpm",),
    "churn": ("edm-stochastic",),
    "churn_min": ("edm-stochastic",),
    "churn_max": ("edm-stochastic",),
    "churn_noise": ("edm-stochastic",),
}
"""Samplers that a field means something for; elsewhere it must stay at its default."""


class Sampling(Spec):
    """A sampler, its times and its guidance."""

    sampler: Annotated[Sampler, FirstDefault("ddim")] = "dpm++3m-sde"
    """`dpm++3m-sde`, the default, drew nearest to the data for eps predictions of images at equal network calls, and near the best
    of tables; where it is known to lose, `check` says so (docs/sampling.md). `ddim`: Song et al. 2021, `eta` = 0 deterministic.
    `ddpm`: ancestral, Ho et al. 2020, algorithm 2. `euler`, `heun`: the probability-flow ODE, first and second order.
    `edm-stochastic`: Karras et al. 2022, algorithm 2. `dpm++2m`: DPM-Solver++, multistep (Lu et al. 2022, algorithm 2).
    `dpm++3m-sde`: its third-order stochastic form. `unipc`: Zhao et al. 2023, order 2."""

    steps: Annotated[int, Ge(1), Le(10_000)] = 50
    """Steps from noise to data. Each asks the network once, `heun` and `edm-stochastic` twice but for the last; guidance
    doubles the batch. On whole times at most `diffusion.timesteps`."""

    grid: Literal["trailing", "leading", "linspace", "quadratic", "karras"] = "trailing"
    """Times of the steps. `trailing`, `leading`, `linspace`: equal distances (Lin et al. 2024, table 2), of which `leading`
    leaves the noisiest time out, though samplers start there; `quadratic`: more of them near the data (Song et al. 2021,
    appendix D.2); `karras`: equal distances in (sigma / alpha) ** (1 / 7) (Karras et al. 2022, eq. 5)."""

    eta: Annotated[float, Ge(0), Le(1)] = 0.0
    """Noise of DDIM: 0 none, 1 as much as the ancestral sampler."""

    variance: Literal["small", "large", "learned"] = "small"
    """Variance of an ancestral step: the posterior's (small), the forward step's (large), or as the network says, which
    needs `diffusion.learned_variance`."""

    churn: Annotated[float, Ge(0), Le(1000)] = 40.0
    """S_churn of `edm-stochastic`: noise added again, over all steps together; never beyond the schedule's noisiest level."""

    churn_min: Annotated[float, Ge(0)] = 0.05
    """S_min: no noise is added below this sigma / alpha."""

    churn_max: Annotated[float, Gt(0)] = 50.0
    """S_max: no noise is added above this sigma / alpha."""

    churn_noise: Annotated[float, Ge(0.9), Le(1.1)] = 1.003
    """S_noise: standard deviation of the added noise."""

    guidance_scale: Annotated[float, Ge(0), Le(50)] = 1.0
    """Classifier-free guidance: 1 is off, guide 002 uses 1 to 10 (Ho & Salimans 2022)."""

    guidance_interval: tuple[Annotated[float, Ge(0)], Annotated[float, Gt(0)]] | None = None
    """Guide only where sigma / alpha lies between these two (Kynkaanniemi et al. 2024); None: everywhere."""

    guidance_rescale: Annotated[float, Ge(0), Le(1)] = 0.0
    """Share by which the guided x0 is scaled back to the standard deviation of the conditional one (Lin et al. 2024, eq. 15
    and 16, there at 0.7); 0: not."""

    guide: str | None = None
    """Directory of a finished run whose network guides in place of the unconditional one: a smaller network, or an earlier
    moment (autoguidance, Karras et al. 2024). It must take the same data and condition, and be trained under the same
    `diffusion`; its averaged weights are used if it has any."""

    calibrate: bool = True
    """Put each prediction of the clean example right by what the network's predictions are worth on training examples, at that
    noise level and frequency (docs/sampling.md): noise that it mistakes for an image is not taken for one."""

    clip_x0: bool = True
    """Clamp each prediction of the clean example to the data's range, and derive the noise again: [-1, 1] for images, the training
    data's own range, feature by feature or channel by channel, for all else."""

    dynamic_threshold: Annotated[float, Gt(0.5), Le(1)] | None = None
    """Quantile of |x0| in each image to which its x0 is clamped and then scaled back to [-1, 1] (Saharia et al. 2022, there
    0.995), in place of `clip_x0`."""

    weights: Literal["ema", "raw"] = "ema"
    """Which weights draw: the average (as every guide advises) or the last ones."""

    @property
    def network_calls(self) -> int:
        """Evaluations of the network for each sample, without guidance's second half of the batch."""
        return 2 * self.steps - 1 if self.sampler in ("heun", "edm-stochastic") else self.steps

    @model_validator(mode="after")
    def _rules(self) -> Sampling:
        require_belonging(self, self.sampler, _BELONGS, kind="sampler")
        if self.churn_min >= self.churn_max:
            raise broken(
                "noise is added from a smaller sigma / alpha to a larger one",
                field="churn_min",
                value=self.churn_min,
                fix=f"take churn_min below churn_max = {self.churn_max:g}",
            )
        if self.guidance_interval is not None and self.guidance_interval[0] >= self.guidance_interval[1]:
            raise broken(
                "the interval of guidance goes from a smaller sigma / alpha to a larger one",
                field="guidance_interval",
                value=self.guidance_interval,
                fix="write it like (0.2, 5.0)",
            )
        if self.guidance_scale == 1.0:
            for field in ("guidance_interval", "guidance_rescale", "guide"):
                if getattr(self, field) not in (None, 0.0):
                    raise broken(
                        f"{field} changes how guidance works, and a guidance_scale of 1 is no guidance",
                        field=field,
                        value=getattr(self, field),
                        fix="set sampling.guidance_scale, or leave this out",
                    )
        return self
